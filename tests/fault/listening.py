"""Hears a running program's events and asks at 10 Hz whether it is ready."""

import contextlib
import json
import threading
import time
import urllib.request

PROBE_S = 0.1


class Ear:
    """The events of a program, newest last, and every answer of /readyz as (monotonic time, status)."""

    def __init__(self, program) -> None:
        self._program = program
        self.events, self.probes = [], []
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
                    self.events.append(json.loads(line[5:]))

    def _probe(self) -> None:
        while not self._stop.wait(PROBE_S):
            self.probes.append((time.monotonic(), self._program.get("/readyz")[0]))
