"""run=fetch against a hub on this machine: what is missing is put where the program looks for it, once."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.system.program import run_to_end

pytestmark = pytest.mark.slow

COMMIT = "a" * 40
FILES = {
    "someone/weights": {"checkpoints/dmd.pt": b"generator" * 100, "other.bin": b"not asked for"},
    "someone/wan": {"google/umt5-xxl/tokenizer.json": b"{}", "google/umt5-xxl/spiece.model": b"s", "vae.pth": b"v"},
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as its client needs; notes what was got."""

    got: list[str]

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), parts[4:])
            return
        repository, inside = "/".join(parts[:2]), "/".join(parts[4:])
        data = FILES.get(repository, {}).get(inside)
        if with_body and data:
            self.got.append(inside)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data or b"").hexdigest()}"'}
        if not data:
            headers["X-Error-Code"] = "EntryNotFound"
        self._send(200 if data else 404, data or b"", headers, with_body)

    def _model(self, repository, rest):
        files = FILES[repository].items()
        siblings = [{"rfilename": name} for name, _ in files]
        tree = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files]
        answer = tree if "tree" in rest else {"id": repository, "sha": COMMIT, "siblings": siblings}
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, True)

    def _send(self, status, body, headers, with_body):
        self.send_response(status)
        for name, value in headers.items() | {"Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Quiet."""


@pytest.fixture
def hub(monkeypatch):
    Hub.got = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Hub
    server.shutdown()
    server.server_close()


def options(root):
    return (
        "run=fetch", f"model.root={root}", "model.hub.generator=someone/weights/checkpoints/dmd.pt",
        "model.hub.vae=someone/wan/vae.pth", "model.hub.tokenizer=someone/wan/google/umt5-xxl/",
    )  # fmt: skip


def test_missing_parts_are_put_where_they_belong_and_are_not_got_twice(tmp_path, hub):
    root = tmp_path / "root"
    (root / "vae").mkdir(parents=True)
    (root / "vae" / "mine.pth").write_bytes(b"mine")
    done = run_to_end(*options(root), out=tmp_path / "out", cold=True)
    assert done.returncode == 0, done.stderr
    found = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert found == {
        "generator/dmd.pt": FILES["someone/weights"]["checkpoints/dmd.pt"],
        "tokenizer/tokenizer.json": b"{}",
        "tokenizer/spiece.model": b"s",
        "vae/mine.pth": b"mine",
    }
    assert not any(path.is_symlink() for path in root.rglob("*"))
    before = list(hub.got)
    done = run_to_end(*options(root), out=tmp_path / "out", cold=True)
    assert (done.returncode, hub.got) == (0, before)


def test_what_the_hub_does_not_have_is_one_line(tmp_path, hub):
    root = tmp_path / "root"
    wrong = "model.hub.generator=someone/weights/gone.pt"
    done = run_to_end("run=fetch", f"model.root={root}", wrong, out=tmp_path / "out", cold=True)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"configuration error: {wrong}: the hub does not give it: 404")
    assert last.endswith("; docs/models.md lists the files")
    assert not (root / "generator").exists()
