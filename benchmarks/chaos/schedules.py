"""Random schedules of kills, stops, cuts, seeds, pauses, prompts, timelines, clips and viewers, each from a seed.

`play` runs one on a scene and settles it; `broken` then names the invariants that do not hold.
"""

import contextlib
import json
import os
import random
import signal
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos.mesh_faults import false_ready
from benchmarks.chaos.scene import Scene, wait_for
from benchmarks.chaos.watcher import Watcher
from tests.fault.event_listener import Probe

FINAL = ("visible", "superseded", "failed")
THINGS = ("a red circle", "a green star", "a blue square", "a yellow triangle")
ACTS, PAUSES_S = 16, (0.0, 0.05, 0.2, 0.5, 1.0)
MAX_VIEWERS = 3
STOPPED_S = (0.1, 0.5, 1.5)
REPEATED = "pp1_results_repeated_total 0.0"


@dataclass
class Played:
    """A schedule that was played. events, probes, processes: how many there were before. acts: what was done."""

    seed: int
    events: int
    probes: int
    processes: int
    acts: list[str] = field(default_factory=list)
    last: str = ""
    """The last prompt."""


class Player:
    """Plays the schedule of one seed."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self._scene, self._dice = scene, random.Random(seed)
        processes = len(scene.program.family())
        self.played = Played(seed, len(scene.ear.events), len(scene.ear.probes), processes)
        self._viewers: list[Watcher] = []
        self._stopped: list[threading.Timer] = []
        self._acts: Mapping[str, tuple[int, Callable[[], object]]] = {
            "prompt": (6, self._prompt),
            "cut": (4, lambda: self._control("hard_cut")),
            "seed": (2, lambda: self._control("seed", self._dice.randint(0, 99))),
            "pause": (2, lambda: self._control("pause")),
            "resume": (3, lambda: self._control("resume")),
            "timeline": (2, self._timeline),
            "clip": (2, self._clip),
            "viewer": (1, self._viewer),
            "kill": (2, lambda: self._signal(signal.SIGKILL)),
            "stop": (1, self._stop),
            "media": (1, self._kill_media),
        }

    def play(self) -> None:
        """All acts, then everything is let go of, one more prompt is sent, and half the time a rank is killed."""
        try:
            for _ in range(ACTS):
                (name,) = self._dice.choices(list(self._acts), [weight for weight, _ in self._acts.values()])
                self.played.acts.append(name)
                self._acts[name][1]()
                time.sleep(self._dice.choice(PAUSES_S))
        finally:
            for timer in self._stopped:
                timer.join()
            for viewer in self._viewers:
                viewer.close()
        self._send("DELETE", "/api/timeline")
        self._control("resume")
        self._send("POST", "/api/clips", {"action": "stop"})
        self._scene.settle()
        chunk = self._scene.program.state()["chunk"]
        wait_for(lambda: self._scene.program.state()["chunk"] >= chunk + 3, "chunks after the timeline's last")
        self._end()

    def _end(self) -> None:
        self.played.last = f"{self._dice.choice(THINGS)} moving left on a black background, {self.played.seed}"
        update = self._scene.program.post("/api/prompt", {"prompt": self.played.last})["id"]
        if self._dice.random() < 0.5:
            self.played.acts.append("kill")
            killed = self._signal(signal.SIGKILL)
            wait_for(lambda: killed not in self._scene.pids().values(), "another rank")
        ended = f"the ends of updates, seed {self.played.seed}, {self.played.acts}"
        wait_for(lambda: update in ended_updates(self._events()) and not open_updates(self._events()), ended)
        self._scene.settle()

    def _kill_media(self) -> None:
        """And all viewers with it: the one that stays comes back as soon as it can."""
        heard = len(self._scene.ear.events)
        self._scene.program.media_processes()[0].kill()
        wait_for(lambda: self._media_is_up(heard), "another media process")
        self._scene.rejoin()

    def _media_is_up(self, heard: int) -> bool:
        events = self._scene.ear.events[heard:]
        return any(event["event"] == "media" and event["state"] == "up" for event in events)

    def _events(self) -> Sequence[dict[str, Any]]:
        return self._scene.ear.events[self.played.events :]

    def _ask(self, prompt: str, **more: Any) -> int:
        return self._send("POST", "/api/prompt", {"prompt": prompt, **more})

    def _prompt(self) -> None:
        more: dict[str, Any] = {"cut": self._dice.choice(["soft", "hard", "recache"])}
        if self._dice.random() < 0.3:
            more["transition"] = {"steps": self._dice.randint(2, 5)}
        self._ask(self._dice.choice(THINGS), **more)

    def _control(self, action: str, value: int | None = None) -> None:
        wait_for(lambda: self._send("POST", "/api/control", {"action": action, "value": value}) != 429, action)

    def _timeline(self) -> None:
        cuts = ["soft", "hard", "recache"]
        entries = [
            {"chunk": n, "prompt": self._dice.choice(THINGS), "cut": self._dice.choice(cuts)}
            for n in range(self._dice.randint(1, 4))
        ]
        self._send("PUT", "/api/timeline", {"entries": entries})

    def _clip(self) -> None:
        self._send("POST", "/api/clips", {"action": self._dice.choice(["start", "stop"])})

    def _viewer(self) -> None:
        if len(self._viewers) == MAX_VIEWERS:
            self._viewers.pop(0).close()
        self._viewers.append(Watcher(self._scene.url))

    def _stop(self) -> None:
        """A rank that does nothing for a while."""
        pid = self._signal(signal.SIGSTOP)
        timer = threading.Timer(self._dice.choice(STOPPED_S), _send_signal, [pid, signal.SIGCONT])
        timer.start()
        self._stopped.append(timer)

    def _signal(self, number: signal.Signals) -> int:
        pid = self._scene.pids()[self._dice.choice((1, 2))]
        _send_signal(pid, number)
        return pid

    def _send(self, method: str, path: str, body: object = None) -> int:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self._scene.url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code


def _send_signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has been replaced already
        os.kill(pid, number)


def play(scene: Scene, seed: int) -> Played:
    """Play one schedule and wait until the stream is steady again."""
    player = Player(scene, seed)
    player.play()
    return player.played


def open_updates(events: Sequence[dict[str, Any]]) -> set[str]:
    """Updates that were accepted and have not ended."""
    return {event["update"] for event in events if event["event"] == "accepted"} - ended_updates(events).keys()


def ended_updates(events: Sequence[dict[str, Any]]) -> Counter[str]:
    """How often each update has ended."""
    return Counter(event["update"] for event in events if event["event"] in FINAL and "update" in event)


def broken(scene: Scene, played: Played) -> list[str]:
    """The invariants that do not hold after a schedule, one line each."""
    events, state = scene.ear.events, scene.program.state()
    ids = [event["id"] for event in events]
    twice = [update for update, count in ended_updates(events).items() if count > 1]
    processes = len(scene.program.family())
    found = {
        f"the prompt is {state['prompt']!r}, not the last one": state["prompt"] != played.last,
        "the viewer has lost its connection": not scene.watcher.connected,
        "there are gaps between the ids of events": ids != list(range(ids[0], ids[0] + len(ids))),
        f"updates without an end: {open_updates(events)}": bool(open_updates(events)),
        f"updates that ended twice: {twice}": bool(twice),
        "readiness was not true": false_ready(unpaused(scene.ear.probes[played.probes :], events)) > 0,
        "a result came twice": REPEATED not in scene.program.get("/metrics")[1],
        f"there are {processes} processes, and there were {played.processes}": processes != played.processes,
    }
    return [line for line, wrong in found.items() if wrong]


def unpaused(probes: Sequence[Probe], events: Sequence[dict[str, Any]]) -> list[Probe]:
    """The probes, with a new chunk in each that came during a pause: a paused stream is ready without chunks."""
    turns = [(e["heard_s"], e["action"] == "pause") for e in events if e.get("action") in ("pause", "resume")]
    out = []
    for number, probe in enumerate(probes):
        paused = [state for at_s, state in turns if at_s <= probe.at_s][-1:] == [True]
        turned = any(probe.at_s <= at_s <= probe.until_s for at_s, _ in turns)
        out.append(probe._replace(chunk=-number - 1) if paused or turned else probe)
    return out
