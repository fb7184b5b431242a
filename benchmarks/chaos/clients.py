"""Faults of clients: a viewer that vanishes, and a flood of prompts."""

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass

from benchmarks.chaos.scene import Scene, wait_for
from benchmarks.chaos.watcher import Watcher

CLIENTS = 10
PER_CLIENT_S = 0.01
LAST = "a yellow star spinning on a black background"
QUIET_S = 3.0
"""Observed before a flood, for comparison."""


@dataclass(frozen=True, slots=True)
class Departure:
    """reaped_s: until the viewer was removed. gap_s: the longest wait for a frame at the other viewer."""

    reaped_s: float
    gap_s: float


@dataclass(frozen=True, slots=True)
class Flood:
    """answers: number of each status. before_s, during_s: p99 wait for a frame. applied: the last prompt is shown."""

    answers: dict[int, int]
    before_s: float
    during_s: float
    applied: bool


def viewer_vanishes(scene: Scene) -> Departure:
    """A second viewer joins, watches, and vanishes without closing its connection."""
    other = Watcher(scene.url)
    wait_for(lambda: len(other.frames) > 10, "frames at the second viewer")
    start = time.monotonic()
    other.vanish()
    wait_for(lambda: scene.program.state()["viewers"] == 1, "one viewer fewer")
    reaped_s = time.monotonic() - start
    other.close()
    return Departure(reaped_s, max(_gaps(scene.watcher, start, start + reaped_s)))


def prompt_flood(scene: Scene, seconds: float) -> Flood:
    """Ten clients send a hundred prompts a second each; then one more prompt is sent, and has to be shown."""
    time.sleep(QUIET_S)
    start = time.monotonic()
    before = _p99(_gaps(scene.watcher, start - QUIET_S, start))
    answers: Counter[int] = Counter()
    threads = [threading.Thread(target=_send, args=(scene.url, n, start + seconds, answers)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    during = _p99(_gaps(scene.watcher, start, time.monotonic()))
    wait_for(lambda: _ask(scene.url, LAST) == 200, "the prompt after the flood to be taken")
    wait_for(lambda: scene.program.state()["prompt"] == LAST, "the last prompt to be shown")
    return Flood(dict(answers), before, during, True)


def _send(url: str, client: int, until_s: float, answers: Counter[int]) -> None:
    count = 0
    while time.monotonic() < until_s:
        answers[_ask(url, f"a blue circle, {client} {count}")] += 1
        count += 1
        time.sleep(PER_CLIENT_S)


def _ask(url: str, prompt: str) -> int:
    body = json.dumps({"prompt": prompt}).encode()
    request = urllib.request.Request(f"{url}/api/prompt", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def _gaps(watcher: Watcher, start_s: float, end_s: float) -> list[float]:
    frames = [at_s for at_s in watcher.frames if start_s <= at_s <= end_s]
    times = [start_s, *frames, end_s]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]
