"""Starts the program, and looks at what it leaves behind."""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from pp1_orchestrator.media_process.media_connection import MODULE
from tests.system import warm
from tests.system.log_privacy import LOG_PRIVACY

START_S = 240
SHARED_MEMORY = Path("/dev/shm")
PORT_NUMBERS = itertools.count(37 * os.getpid())


def run_to_end(
    *options: str, out: Path, timeout_s: float = START_S, cold: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run until the program ends by itself; `out` becomes its folder. cold: libraries read the environment anew."""
    if cold:
        words = [sys.executable, "-m", "pp1_orchestrator", *options, f"hydra.run.dir={out}"]
        return subprocess.run(words, cwd=warm.ROOT, capture_output=True, text=True, timeout=timeout_s)
    said = [out.with_suffix(suffix) for suffix in (".stdout", ".stderr")]
    process = warm.start([*options, f"hydra.run.dir={out}"], *said)
    try:
        code = process.wait(timeout_s)
    finally:
        end_by_force(process)
    LOG_PRIVACY.note_arguments(options)
    assert_nothing_private(options, *said, *out.rglob("*.log"))
    return subprocess.CompletedProcess(options, code, *(path.read_text() for path in said))


def start_cold(
    arguments: list[str], log: Path, module: str, environment: Mapping[str, str] | None
) -> subprocess.Popen[str]:
    """As a person would, imports and all."""
    with log.open("w") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=warm.ROOT,
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def end_by_force(process: subprocess.Popen[str] | warm.Warm) -> None:
    """Whatever is left of its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A port below those that the kernel gives to clients: nothing takes it before the program does."""
    for number in PORT_NUMBERS:
        port = 12000 + number % 20000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the numbers never end")


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def assert_nothing_private(arguments: Iterable[str], *logs: Path) -> None:
    """In the logs of a program that has ended, unless it was told to log prompts."""
    if "log.prompts=true" in arguments:
        return
    for log in logs:
        if log.is_file():
            assert LOG_PRIVACY.found_in(log.read_text(errors="replace")) == [], log


class Running:
    """The program while it serves, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[str] | warm.Warm, port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str, body: dict | None = None, token: str | None = None) -> tuple[int, str]:
        """Status and body; status 0 where nobody answers. With a body of its own it is a POST."""
        LOG_PRIVACY.note(token)
        LOG_PRIVACY.note_body(body)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body).encode()
        headers |= {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def post(self, path: str, body: Any, token: str | None = None) -> Any:
        status, answer = self.get(path, body, token)
        assert status in (200, 202), answer
        return json.loads(answer)

    def state(self, token: str | None = None) -> dict[str, Any]:
        return json.loads(self.get("/api/state", token=token)[1])

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Fails with the program's log when it ends, or when START_S have gone by."""
        end = time.monotonic() + START_S
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.1)

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.get("/readyz")[0] == 200)

    def wait_until_ended(self) -> None:
        """Fails with the program's log when it does not end well."""
        assert self.process.wait(START_S) == 0, self.log

    def family(self) -> list[psutil.Process]:
        """The program's process and all below it."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def media_processes(self) -> list[psutil.Process]:
        """The one that is up, and the one that was started ahead, if it has been already."""
        found: list[psutil.Process] = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if MODULE in child.cmdline():
                    found.append(child)
        return sorted(found, key=psutil.Process.create_time)

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C: the whole foreground group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)


@contextlib.contextmanager
def running(
    *options: str,
    out: Path,
    port: int | None = None,
    cold: bool = False,
    module: str = "pp1_orchestrator",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """The program, started; whatever of it is left at the end is killed. module: what stands for the program.

    cold: its imports are part of the test, as they are with another module or environment.
    """
    port = free_port() if port is None else port
    log = out.with_suffix(".log")
    arguments = [*options, f"serving.port={port}", f"hydra.run.dir={out}"]
    if cold or module != "pp1_orchestrator" or environment is not None:
        process = start_cold(arguments, log, module, environment)
    else:
        process = warm.start(arguments, log, log)
    LOG_PRIVACY.note_arguments(arguments)
    try:
        yield Running(process, port, log)
    finally:
        end_by_force(process)
    assert_nothing_private(arguments, log, *out.rglob("*.log"))


def shared_memory() -> set[str]:
    """Shared-memory files and semaphores that Python or torch has left behind: no process that lives maps them."""
    prefixes = ("torch_", "psm_", "sem.", "gloo", "pym-")
    found = [path for path in SHARED_MEMORY.glob("*") if path.name.startswith(prefixes)]
    inodes = {}
    for path in found:
        with contextlib.suppress(FileNotFoundError):
            inodes[path.name] = str(path.stat().st_ino)
    mapped = _mapped_inodes() if inodes else set()
    return {name for name, inode in inodes.items() if inode not in mapped}


def _mapped_inodes() -> set[str]:
    """Of all files in shared memory. A semaphore's name in this list is not its own."""
    inodes: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            inodes |= {line.split()[4] for line in maps.read_text().splitlines() if str(SHARED_MEMORY) in line}
    return inodes
