"""A stream that paints the colour named in its heaviest prompt, through the real pacer, encoder and viewers."""

import itertools
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.socket_viewers import SocketViewers
from pp1_orchestrator.media.whep import WhepPeers
from pp1_orchestrator.stage0.timeline import Timeline
from pp1_orchestrator.stage0.validation import check_live_entries, check_seed, label, parse_update
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import Control, DecodedChunk, PromptGuide, PromptReceipt, PromptUpdate, TimelineEntry
from tests.server.conftest import make_clips

SIZE, FPS, FRAMES, SEED = 128, 16, 6, 42
GUIDE = PromptGuide("One shape on a background.", ("a", "red", "green", "blue", "circle", "star", "on", "start"))
READ_CHARS = 60
COLOURS = {"red": (210, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 210), "start": (90, 90, 90)}


class PaintedStream:
    """Implements types.StreamControl; `sink`, `clips` and `peers` are the real ones."""

    def __init__(self) -> None:
        self.events, self.metrics = EventBus(), Metrics()
        self._video = VideoSettings(SIZE, SIZE, FPS)
        self.broadcaster = Broadcaster(self._video, self.metrics)
        self._folder = tempfile.TemporaryDirectory()
        self.clips = make_clips(Path(self._folder.name), self.events, SIZE)
        self.sink = PacedSink([self.broadcaster, self.clips], FPS, placeholder(SIZE, SIZE), self.metrics, self._shown)
        self.commands: list[Control] = []
        self.updates: list[PromptUpdate] = []
        self.prompt, self.chunk, self.epoch, self.paused, self.seed = "start", -1, 0, False, SEED
        self.life = "ready"
        memory = {"vae_decoder": 3_000_000, "text_encoder": 1_000_000, "resident": 512_000_000, "peak": 600_000_000}
        self.ranks = {"0": {"pid": 1, "device": "cpu", "state": "up", "memory": memory}}
        self._label = ""
        self._planned, self._recording = Timeline(()), [TimelineEntry(chunk=0, prompt=self.prompt, seed=SEED)]
        self._new: list[str] = []
        self._ids = itertools.count(1)
        self.stalled = threading.Event()
        """While it is set, no chunks are made, without a known reason."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._produce, daemon=True)
        self._thread.start()

    def make_peers(self, limits: PeerLimits | None = None) -> tuple[WhepPeers, SocketViewers]:
        """One server's viewers."""
        limits, policy = limits or PeerLimits(), CandidatePolicy("127.0.0.1")
        sockets = SocketViewers(self.broadcaster, self._video, limits, self.metrics, lambda: peers.addresses)
        peers = WhepPeers(self.broadcaster, "vp8", limits, policy, self.metrics, lambda: sockets.addresses)
        return peers, sockets

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.sink.close()
        self.clips.close()
        self._folder.cleanup()

    def update_prompt(self, update: PromptUpdate) -> PromptReceipt:
        parse_update(update)
        update_id = f"u{next(self._ids)}"
        self._show(update)
        cut = {"truncated": True, "read_chars": READ_CHARS} if len(self.prompt) > READ_CHARS else {}
        self.events.publish("accepted", update=update_id, prompt=self._label, chunk=self.chunk, **cut)
        self.updates.append(update)
        self._recording.append(_entry(update, self.chunk + 1))
        self._new.append(update_id)
        return PromptReceipt(update_id)

    def control(self, command: Control) -> None:
        if command.action == "seed":
            self.seed = check_seed(command.value)
            self._recording.append(TimelineEntry(chunk=self.chunk + 1, seed=self.seed, cut="hard"))
        self.commands.append(command)
        if command.action in ("pause", "resume"):
            self.paused = command.action == "pause"
        self.events.publish("control", action=command.action, value=command.value)

    def end_updates(self) -> None:
        """A restart of the server does not end it."""

    def set_strength(self, strength: float) -> None:
        raise RequestError("strength needs an input, and source=none has none", 409)

    def set_timeline(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        check_live_entries(entries)
        soonest = self._planned.replace(entries, relative)
        first = soonest if relative else 0
        self.events.publish("timeline", entries=len(entries), first_chunk=first)
        return first

    def timeline(self) -> list[TimelineEntry]:
        return self._planned.from_chunk(self.chunk + 1)

    def history(self) -> list[PromptUpdate]:
        shown = reversed([PromptUpdate(prompt=self._recording[0].prompt), *self.updates])
        return list(dict.fromkeys(shown))

    def recording(self) -> list[TimelineEntry]:
        return list(self._recording)

    def state(self) -> dict:
        config = {
            "model": "paint",
            "routing": "none",
            "overlap": "none",
            "context": "none",
            "cache": "ring",
            "layout": "inline",
        }
        config |= {"fps": FPS, "width": SIZE, "height": SIZE, "steps": 4, "seed": SEED, "chunk_s": FRAMES / FPS}
        figures = {"fps": 16.0, "phases_ms": {"text": 1.0, "denoise": 2.0, "context": 3.0, "decode": 4.0}}
        figures |= {"chunks": self.chunk + 1, "prompt_to_pixels_ms": 67.8}
        prompt = self._label or self.prompt
        return {
            "config": config, "prompt": prompt, "seed": self.seed, "paused": self.paused, "state": self.life,
            "epoch": self.epoch, "chunk": self.chunk, "figures": figures, "ranks": self.ranks, "failed": None,
        }  # fmt: skip

    def prompt_guide(self) -> PromptGuide:
        return GUIDE

    def alive(self) -> bool:
        return True

    def ready(self) -> bool:
        return self.chunk >= 0

    def _produce(self) -> None:
        while not self._stop.is_set():
            if self.paused or self.stalled.is_set():
                time.sleep(0.02)
            elif self.sink.wait_for_room(0.1):
                self._paint()

    def _show(self, update: PromptUpdate) -> None:
        terms = parse_update(update).terms
        self.prompt, self._label = max(terms, key=lambda term: term.weight).text, label(terms)
        self.epoch += update.cut == "hard"

    def _paint(self) -> None:
        entry = self._planned.take(self.chunk + 1)
        if entry is not None and entry.has_prompt:
            self._show(entry)
            self._recording.append(entry)
        colour = next((value for name, value in COLOURS.items() if name in self.prompt), COLOURS["start"])
        ids, self._new = tuple(self._new), []
        self.chunk += 1
        for update_id in ids:
            self.events.publish("applied", update=update_id, chunk=self.chunk, epoch=self.epoch)
        frames = np.empty((FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
        frames[:] = colour
        self.sink.put(DecodedChunk(self.chunk, self.epoch, torch.from_numpy(frames), ids, time.monotonic()))

    def _shown(self, chunk: DecodedChunk, shown_at_s: float) -> None:
        for update_id in chunk.update_ids:
            self.events.publish(
                "visible", update=update_id, chunk=chunk.chunk_index, latency_ms=123.4, latency_chunks=1
            )


def _entry(update: PromptUpdate, chunk: int) -> TimelineEntry:
    fields = {name: getattr(update, name) for name in PromptUpdate.__struct_fields__}
    return TimelineEntry(chunk=chunk, **fields)
