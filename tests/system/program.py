"""Starts the program as a person would, and looks at what it leaves behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_S = 90


def command(*options: str, module: str = "pp1_orchestrator") -> list[str]:
    return [sys.executable, "-m", module, *options]


def run_to_end(*options: str, out: Path, timeout_s: float = 150) -> subprocess.CompletedProcess[str]:
    """Run until the program ends by itself; `out` becomes the run's folder."""
    return subprocess.run(
        command(*options, f"hydra.run.dir={out}"), cwd=ROOT, capture_output=True, text=True, timeout=timeout_s
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Running:
    """The program while it serves, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def post(self, path: str, body: Any) -> Any:
        url, headers = f"http://127.0.0.1:{self.port}{path}", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read())

    def state(self) -> dict[str, Any]:
        return json.loads(self.get("/api/state")[1])

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Fails with the program's log when it ends, or when START_S have gone by."""
        end = time.monotonic() + START_S
        while not condition():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.1)

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.get("/readyz")[0] == 200)

    def family(self) -> list[psutil.Process]:
        """The program's process and all below it."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def interrupt(self) -> None:
        """What a terminal does at Ctrl-C: the whole foreground group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)


@contextlib.contextmanager
def running(
    *options: str,
    out: Path,
    port: int | None = None,
    module: str = "pp1_orchestrator",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """The program, started; whatever of it is left at the end is killed. module: what stands for the program."""
    port = free_port() if port is None else port
    log = out.with_suffix(".log")
    with log.open("w") as sink:
        process = subprocess.Popen(
            command(*options, f"serving.port={port}", f"hydra.run.dir={out}", module=module),
            cwd=ROOT,
            env=environment,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield Running(process, port, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def shared_memory() -> set[str]:
    """Shared-memory files and semaphores that Python or torch may leave behind."""
    names = {path.name for path in Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()
    return {name for name in names if name.startswith(("torch_", "psm_", "sem.", "gloo", "pym-"))}
