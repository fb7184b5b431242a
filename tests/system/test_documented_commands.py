"""The commands that the pages show are run as they stand there.

Three things differ: a run leaves its files in the test's folder, listens on a free port, and a bench makes few small
chunks. A program that serves is stopped when it is ready.
"""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documented import ROOT, runnable
from tests.system.program import START_S, Running, free_port, run_to_end, running

pytestmark = pytest.mark.slow

FEW = ("run.chunks=3", "run.warmup_chunks=1", "stream.height=64", "stream.width=64")
UP = (200, 401)
"""What /readyz answers when a stream runs, without and with a token."""


@dataclass
class Place:
    """Where commands run: a folder for what they leave, and what the pages' names stand for here."""

    folder: Path
    names: Mapping[str, str]
    runs: int = 0

    def here(self, word: str) -> str:
        for name, stand_in in self.names.items():
            word = word.replace(name, stand_in)
        return word


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Running]:
    """The stream that `make run` starts, for the commands that talk to one."""
    with running(out=tmp_path_factory.mktemp("served") / "out") as program:
        program.wait_until_ready()
        yield program


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "out"
    assert run_to_end("run=bench", *FEW, out=out).returncode == 0
    return out / "recording.yaml"


def make(words: list[str], place: Place) -> None:
    """What make would do; the set-up in front of it has been done."""
    command = ["make", "--dry-run", "--no-print-directory", *words[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *set_up, last = done.stdout.splitlines()
    assert set_up == ["scripts/setup.sh run"]
    shell = subprocess.run(["bash", "-c", f"printf '%s\\n' {last}"], capture_output=True, text=True, check=True)
    assert shell.stdout.splitlines()[:2] == ["exec", ".venv/bin/python"]
    python(shell.stdout.splitlines()[1:], place)


def python(words: list[str], place: Place) -> None:
    """The program, until it ends by itself or is ready for viewers."""
    assert words[1:3] == ["-m", "pp1_orchestrator"], words
    place.runs += 1
    out = place.folder / f"out{place.runs}"
    small = FEW if "run=bench" in words or "--config-dir" in words else ()
    with running(*words[3:], *small, f"hydra.sweep.dir={out}", out=out) as program:
        while program.process.poll() is None and program.get("/readyz")[0] not in UP:
            time.sleep(0.1)
        if program.process.poll() is None:
            program.interrupt()
        assert program.process.wait(START_S) == 0, program.log
    assert any(out.iterdir())


def prometheus(words: list[str], place: Place) -> None:
    """Until it is ready."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("there is no Prometheus (package prometheus)")
    address = next(word.split("=")[1] for word in words if word.startswith("--web.listen-address="))
    with (place.folder / "log").open("w") as log:
        process = subprocess.Popen([binary, *words[1:]], cwd=ROOT, stdout=log, stderr=log)
    try:
        while not answers(f"http://{address}/-/ready"):
            assert process.poll() is None, (place.folder / "log").read_text()
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(START_S)


def answers(url: str) -> bool:
    with suppress(urllib.error.URLError):
        return urllib.request.urlopen(url, timeout=10).status == 200
    return False


def tool(words: list[str], place: Place) -> None:
    """A program of the system."""
    options = ["--fail-with-body"] if words[0] == "curl" else []
    environment = os.environ | {"PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])}
    done = subprocess.run([words[0], *options, *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


RAN: set[tuple[str, ...]] = set()
"""Commands that some page has shown already."""
RUNNERS: Mapping[str, Callable[[list[str], Place], None]] = {
    "make": make,
    "python": python,
    ".venv/bin/prometheus": prometheus,
    "curl": tool,
    "mkdir": tool,
    "cp": tool,
}


@pytest.mark.parametrize("block", runnable().values(), ids=lambda block: block.name)
def test_what_a_page_shows_works(block, tmp_path, request):
    port = free_port()
    names = {"my_conf": f"{tmp_path}/my_conf", "outputs/": f"{tmp_path}/", "127.0.0.1:9090": f"127.0.0.1:{port}"}
    if "localhost:7860" in block.code:
        names["localhost:7860"] = f"127.0.0.1:{request.getfixturevalue('served').port}"
    if "recording.yaml" in block.code:
        names["recording.yaml"] = str(request.getfixturevalue("recording"))
    place = Place(tmp_path, names)
    for words in block.commands:
        assert words[0] in RUNNERS, f"{words[0]}: no way to run it; say why not: <!-- not run: … -->"
        if words[0] == "make" and tuple(words) in RAN:
            continue
        RAN.add(tuple(words))
        RUNNERS[words[0]]([place.here(word) for word in words], place)
