"""Starts the program with its command line, and talks to it over HTTP."""

import contextlib
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.system import warm
from tests.system.program import end_by_force, free_port

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 400.0
"""For one wait. It is only reached when the program hangs or the machine is overloaded."""
QUIET_S = 0.5


class Program:
    """One started process of `python -m pp1_orchestrator`; standard output and error go to one file."""

    def __init__(self, *options: str, log: Path) -> None:
        self._log = log
        self._process = warm.start(list(options), log, log)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def end(self) -> str:
        """Wait until the program has ended with exit code 0; return its output."""
        try:
            code = self._process.wait(LIMIT_S)
        finally:
            self.kill()
        assert code == 0, f"exit code {code}\n{self.log}"
        return self.log

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        end_by_force(self._process)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + LIMIT_S
        while not condition():
            assert self._process.poll() is None, f"the program has ended\n{self.log}"
            assert time.monotonic() < end, f"still waiting\n{self.log}"
            time.sleep(0.1)


class Server(Program):
    """The program while it serves."""

    def __init__(self, *options: str, log: Path) -> None:
        self._port = free_port()
        super().__init__(*options, f"serving.port={self._port}", log=log)

    def request(self, path: str, body: Any = None) -> tuple[int, str]:
        """Status and text; status 0 where nobody answers. With a body it is a POST."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def post(self, path: str, body: Any) -> None:
        status, text = self.request(path, body)
        assert status in (200, 202), text

    def state(self) -> dict[str, Any]:
        return json.loads(self.request("/api/state")[1])

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.request("/readyz")[0] == 200)

    def new_lines(self, seen: int) -> list[str]:
        """Log lines after the first `seen`, once none has come for a while."""
        lines = self.log.splitlines()
        while True:
            time.sleep(QUIET_S)
            if len(now := self.log.splitlines()) == len(lines):
                return lines[seen:]
            lines = now


@contextlib.contextmanager
def serving(*options: str, log: Path) -> Iterator[Server]:
    server = Server(*options, log=log)
    try:
        yield server
    finally:
        server.kill()
