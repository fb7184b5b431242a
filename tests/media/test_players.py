"""Browsers play and seek in the files that the program leaves, those of a killed program, too."""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pp1_orchestrator.media.clip_writer import ClipLimits, ClipWriter
from pp1_orchestrator.media.media_settings import VideoSettings
from pp1_orchestrator.media.mp4_sink import Mp4Recorder
from tests.media.numbered_frames import SIZE, chunk, numbered
from tests.timing import scaled

FPS, FRAMES = 16, 32
PAGE = Path(__file__).with_name("players.html")
BROWSERS = {
    "chromium": ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir={}"),
    "firefox-esr": ("--headless", "--no-remote", "--profile", "{}"),
}
WAIT_S = 60


class FileSite:
    """Serves the page and the files of a folder, and gets what the page found."""

    def __init__(self, folder: Path) -> None:
        self.found: queue.Queue[dict] = queue.Queue()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                names = [f"/{path.name}" for path in sorted(folder.iterdir())]
                texts = {"/": PAGE.read_bytes(), "/files": json.dumps(names).encode(), "/favicon.ico": b""}
                data = texts[self.path] if self.path in texts else (folder / self.path[1:]).read_bytes()
                self._answer(data, "text/html" if self.path == "/" else "video/mp4")

            def do_POST(self) -> None:
                site.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer(b"", "text/plain")

            def log_message(self, format: str, *args: object) -> None:
                """The test says what is wrong."""

            def _answer(self, data: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[FileSite]:
    """A clip with a pause at its end, the same as a killed program would leave it, and a bench's video."""
    folder = tmp_path_factory.mktemp("files")
    writer = ClipWriter(
        "c1", folder / "clip.mp4", VideoSettings(SIZE, SIZE, FPS), ClipLimits(60, 10**8, 2), lambda _: None
    )
    times_s = [number / FPS for number in range(FRAMES)] + [(FRAMES - 1) / FPS + 1]
    for number, at_s in enumerate(times_s):
        while not writer.add(numbered(number), at_s):  # its queue is full; all but the last frame may be written
            time.sleep(0.01)
    while writer.clip().frames <= FRAMES:
        time.sleep(0.01)
    shutil.copy(folder / "clip.mp4", folder / "killed.mp4")
    writer.stop("asked")
    recorder = Mp4Recorder(folder / "stream.mp4", FPS, SIZE, SIZE)
    recorder.put(chunk(0, frames=FRAMES))
    recorder.close()
    site = FileSite(folder)
    yield site
    site.server.shutdown()
    site.server.server_close()


@contextlib.contextmanager
def browser(name: str, profile: Path, url: str) -> Iterator[None]:
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name}")
    profile.mkdir()
    options = [option.format(profile) for option in BROWSERS[name]]
    process = subprocess.Popen(
        [name, *options, url], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("name", BROWSERS)
def test_a_browser_plays_and_seeks_in_every_file(tmp_path, site, name):
    with browser(name, tmp_path / "profile", site.url):
        found = site.found.get(timeout=scaled(WAIT_S))
    if not found:
        pytest.skip(f"this {name} decodes no H.264; Debian's libavcodec59 lets Firefox do it")
    lengths = {"/clip.mp4": (FRAMES, 3.0), "/stream.mp4": (FRAMES - 1, 2.0), "/killed.mp4": (FRAMES - 1, None)}
    assert found.keys() == lengths.keys()
    for path, (last, seconds) in lengths.items():
        told = found[path]
        assert {key: told.get(key) for key in ("error", "first", "at_1_s", "last")} == {
            "error": None, "first": 0, "at_1_s": FPS, "last": last,
        }, path  # fmt: skip
        if seconds is not None:
            assert told["duration"] == pytest.approx(seconds, abs=0.01), path
            assert told["ended"] == pytest.approx(seconds, abs=0.01), path
