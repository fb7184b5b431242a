"""An in-memory stream: accepts what a real one would, records it, and publishes the events."""

import itertools

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.stage0.validation import check_live_entries, check_seed, check_strength, parse_update
from pp1_orchestrator.types import Control, PromptGuide, PromptReceipt, PromptUpdate, TimelineEntry


class MemoryStream:
    """Implements types.StreamControl."""

    def __init__(self, events: EventBus) -> None:
        self.events = events
        self.updates: list[PromptUpdate] = []
        self.commands: list[Control] = []
        self.entries: list[TimelineEntry] = []
        self.is_ready = self.is_alive = True
        self.life = "ready"
        self.paused = self.ended = False
        self.strength = 0.8
        self._ids = itertools.count(1)

    def update_prompt(self, update: PromptUpdate) -> PromptReceipt:
        if update.prompt == "impossible":
            raise RequestError("this can't be shown")
        if update.prompt == "broken":
            raise ValueError("a secret detail")
        parse_update(update)
        self.updates.append(update)
        update_id = f"u{next(self._ids)}"
        cut = {"truncated": True, "read_chars": 3} if update.prompt == "long" else {}
        self.events.publish("accepted", update=update_id, prompt=update.prompt, chunk=3, **cut)
        return PromptReceipt(update_id, **cut)

    def end_updates(self) -> None:
        self.ended = True

    def control(self, command: Control) -> None:
        if command.action == "seed":
            check_seed(command.value)
        self.commands.append(command)
        if command.action in ("pause", "resume"):
            self.paused = command.action == "pause"
        self.events.publish("control", action=command.action, value=command.value)

    def set_strength(self, strength: float) -> None:
        self.strength = check_strength(strength)
        self.events.publish("source", strength=strength)

    def set_timeline(self, entries, relative: bool) -> int:
        check_live_entries(entries)
        self.entries = list(entries)
        return 5 if relative else 0

    def timeline(self) -> list[TimelineEntry]:
        return self.entries

    def recording(self) -> list[TimelineEntry]:
        return [TimelineEntry(chunk=0, seed=42, prompt="a start")]

    def history(self) -> list[PromptUpdate]:
        return [*reversed(self.updates), PromptUpdate(prompt="a start")]

    def state(self) -> dict:
        prompt = self.updates[-1].prompt if self.updates else "a start"
        choices = dict.fromkeys(("routing", "overlap", "context", "cache", "layout"), "test")
        config = {"model": "tiny", **choices}
        figures = {"fps": 16.0, "phases_ms": {"text": 1.5, "denoise": 200.0, "context": 50.0, "decode": 120.0}}
        ranks = {"0": {"pid": 1, "device": "cpu", "state": "up"}}
        return {
            "config": config, "prompt": prompt, "seed": 42, "paused": self.paused, "state": self.life,
            "epoch": 0, "chunk": 3, "figures": figures, "ranks": ranks, "failed": None,
            "source": {"name": "file", "mode": "noise", "strength": self.strength, "state": "playing"},
        }  # fmt: skip

    def prompt_guide(self) -> PromptGuide:
        return PromptGuide("Shapes.", ("a", "star"))

    def alive(self) -> bool:
        return self.is_alive

    def ready(self) -> bool:
        return self.is_ready


class CountedPeers:
    """Like WhepPeers, without WebRTC: an offer is answered with itself."""

    def __init__(self, places: int = 2) -> None:
        self.places = places
        self.viewers: set[str] = set()
        self.started = self.closed = False

    @property
    def count(self) -> int:
        return len(self.viewers)

    def start(self) -> None:
        self.started = True

    async def offer(self, sdp: str, address: str) -> tuple[str, str]:
        if self.count >= self.places:
            raise RequestError(f"all {self.places} viewer places are taken", status=503)
        if not sdp.startswith("v="):
            raise RequestError("the offer is not SDP: it must start with v=", status=400)
        viewer_id = f"v{self.count}"
        self.viewers.add(viewer_id)
        return viewer_id, sdp

    async def close(self, viewer_id: str) -> bool:
        present = viewer_id in self.viewers
        self.viewers.discard(viewer_id)
        return present

    async def close_all(self) -> None:
        self.viewers.clear()
        self.closed = True
