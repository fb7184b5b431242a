"""Hears a running program's events and asks at 10 Hz whether it is ready, and how many chunks it has made."""

import contextlib
import json
import threading
import time
import urllib.request
from typing import NamedTuple

PROBE_S = 0.1


class Probe(NamedTuple):
    """What /readyz said and then the newest chunk; asked at `at_s`, answered by `until_s`, both monotonic."""

    at_s: float
    status: int
    chunk: int | None
    until_s: float


class EventListener:
    """events: newest last, `heard_s` added; probes: one each 0.1 s."""

    def __init__(self, program) -> None:
        self._program = program
        self.events: list[dict] = []
        self.probes: list[Probe] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._hear, self._probe)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stop.set()

    def of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["event"] == kind]

    def _hear(self) -> None:
        url = f"http://127.0.0.1:{self._program.port}/api/events"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=60) as lines:
            for line in lines:
                if line.startswith(b"data:"):
                    self.events.append(json.loads(line[5:]) | {"heard_s": time.monotonic()})

    def _probe(self) -> None:
        while not self._stop.wait(PROBE_S):
            at_s, status = time.monotonic(), self._program.get("/readyz")[0]
            answered, state = self._program.get("/api/state")
            chunk = json.loads(state)["chunk"] if answered == 200 else None
            self.probes.append(Probe(at_s, status, chunk, time.monotonic()))
