"""Starts the program without the seconds that its imports take: a process that has done them forks for every start.

The fork runs `python -m pp1_orchestrator` as its own session's leader, with its own arguments, environment and files;
nothing has run in it before. `python -m tests.system.warm` is that process; it takes one JSON line a start.
"""

import atexit
import gc
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import NoReturn

from tests.system.warm_ranks import stand_by

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.02


class Warm:
    """A started program, as far as `subprocess.Popen` has the same names."""

    def __init__(self, pid: int, status: Path) -> None:
        self.pid, self._status = pid, status

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return int(self._status.read_text()) if self._status.exists() else None

    def wait(self, timeout: float = 240) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def start(arguments: list[str], out: Path, err: Path) -> Warm:
    """out, err: files for what the program says; may be the same one."""
    process, folder = _forker()
    for path in (out, err):
        path.touch()  # it can be read from the start
    status = Path(tempfile.mktemp(dir=folder))
    request = {"arguments": arguments, "out": str(out), "err": str(err), "env": dict(os.environ), "status": str(status)}
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return Warm(int(process.stdout.readline()), status)


@cache
def _forker() -> tuple[subprocess.Popen[str], str]:
    """One for this whole test run; it ends when its standard input does."""
    folder = tempfile.TemporaryDirectory()
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # numpy and torch would begin theirs when they are imported
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        env=one_thread,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end() -> None:
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    return process, folder.name


def main() -> None:
    import hydra  # noqa: F401
    from diffusers.models.autoencoders import autoencoder_kl_wan  # noqa: F401
    from transformers.models.umt5 import UMT5EncoderModel  # noqa: F401

    import pp1_orchestrator.app.run
    import pp1_orchestrator.app.serve
    import pp1_orchestrator.ui.panel  # noqa: F401

    assert len(os.listdir("/proc/self/task")) == 1, "a thread would be missing in every fork"
    gc.collect()
    gc.freeze()  # no fork copies the pages of what is imported only to look for garbage in them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        told, tell = os.pipe()
        if os.fork() == 0:
            _attend(json.loads(line), tell)
        os.close(tell)
        pid = os.read(told, 32).decode()
        os.close(told)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _attend(request: dict, tell: int) -> NoReturn:
    """The program's parent: tells its process id, waits for it, and writes down how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        _become_program(request)
    os.write(tell, str(pid).encode())
    os.close(tell)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    unfinished = Path(f"{request['status']}.tmp")
    unfinished.write_text(str(code))
    unfinished.replace(request["status"])
    os._exit(0)


def _become_program(request: dict) -> NoReturn:
    os.setsid()
    writing = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = ((os.devnull, os.O_RDONLY), (request["out"], writing), (request["err"], writing))
    for number, (path, flags) in enumerate(files):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["env"])
    multiprocessing.current_process().authkey = os.urandom(32)
    stand_by()
    sys.argv = ["pp1_orchestrator", *request["arguments"]]
    runpy.run_module("pp1_orchestrator", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
