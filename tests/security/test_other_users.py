"""Another user of the machine: what of a running program they can read, write to, or talk to."""

import contextlib
import os
import socket
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from pp1_orchestrator.ui import panel
from tests.security.another_user import as_another_user, can_change_user
from tests.system.program import Running, running, shared_memory

TOKEN = "only-for-the-owner-of-this-stream"
OF_A_PROCESS = ("environ", "mem", "maps", "cwd/", "root/", "fd/")
pytestmark = pytest.mark.skipif(not can_change_user(), reason="only root can act as another user")


@pytest.fixture(scope="module")
def folder():
    """One that every user may enter."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module")
def program(folder):
    """With a token from the environment, ready, and with a clip in its folder."""
    words = ("layout=cpu", "layout.mesh_ranks=1", "stream.height=64", "stream.width=64", "serving.token=${oc.env:OWN}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OWN", TOKEN)
        with running(*words, out=folder / "out", cold=True) as found:
            found.wait_until(lambda: found.get("/readyz", token=TOKEN)[0] == 200)
            for action in ("start", "stop"):
                found.post("/api/clips", {"action": action}, token=TOKEN)
            yield found


def names(folder: Path) -> list[Path]:
    return [folder, *folder.rglob("*")]


def allowed(paths: list[Path], mode: int) -> list[str]:
    return as_another_user(lambda: [str(path) for path in paths if os.access(path, mode)])


def opens(path: str) -> bool:
    try:
        if path.endswith("/"):
            os.listdir(path)
        else:
            with open(path, "rb") as file:
                file.read(1)
    except OSError:
        return False
    return True


def test_the_run_folder_can_not_be_written_to_and_its_settings_and_stacks_not_read(program, folder):
    found = names(folder / "out")
    assert {".hydra", ".stacks", "clips", "pp1_orchestrator.log"} <= {path.name for path in found}
    assert allowed(found, os.W_OK) == []
    private = [path for path in found if {".hydra", ".stacks"} & set(path.parts)]
    assert len(private) > 4
    assert allowed(private, os.R_OK) == []


def test_memory_environment_and_files_of_its_processes_are_closed(program: Running):
    paths = [f"/proc/{process.pid}/{what}" for process in program.family() for what in OF_A_PROCESS]
    assert as_another_user(lambda: [path for path in paths if opens(path)]) == []
    assert all(opens(path) for path in paths if path.endswith("environ"))


def test_the_token_is_not_on_the_command_lines_that_everybody_can_read(program: Running):
    pids = [process.pid for process in program.family()]
    lines = as_another_user(lambda: [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in pids])
    assert any("serving.port" in line for line in lines)
    assert not any(TOKEN in line for line in lines)


def test_shared_memory_has_no_name_and_unix_sockets_let_nobody_in(program: Running):
    assert shared_memory() == set()
    kinds = [c for process in program.family() for c in process.net_connections(kind="unix")]
    paths = {c.laddr for c in kinds if c.laddr}
    assert paths
    assert not [path for path in paths if str(path).startswith("\0")]

    def connected() -> list[str]:
        found = []
        for path in paths:
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
                client.connect(path)
                found.append(path)
        return found

    assert as_another_user(connected) == []


def test_the_server_wants_the_token(program: Running):
    def statuses() -> list[int]:
        found = []
        for path in ("/", "/api/state", "/metrics", "/healthz"):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{program.port}{path}", timeout=120) as answer:
                    found.append(answer.status)
            except urllib.error.HTTPError as error:
                found.append(error.code)
        return found

    assert as_another_user(statuses) == [401, 401, 401, 200]


def test_a_name_in_the_folder_for_temporary_files_that_is_taken_disturbs_nobody(monkeypatch, tmp_path):
    """Gradio's folder there has a fixed name."""
    from fastapi import FastAPI

    taken = tmp_path / "gradio"
    taken.write_text("mine")
    monkeypatch.setattr(panel.routes, "DEFAULT_TEMP_DIR", str(taken))
    assert panel.mount(FastAPI(), 1, 1, 1)
    assert taken.read_text() == "mine"
