"""Every accepted update ends exactly once: visible, superseded or failed, whatever happens to its chunks."""

import threading
from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.contract import wire
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.receipts import Receipts
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.telemetry.records import ChunkRecord, UpdateRecord
from pp1_orchestrator.transport.cuda_streams import StreamFence
from tests.contract.factories import envelope_for_plan, plan_for
from tests.media.numbered_frames import SIZE, chunk

FPS, FRAMES, WAIT_S = 10_000, 2, 120
FINAL = ("visible", "superseded", "failed")
LATENTS = torch.zeros(1, 3, 16, 8, 8)


class Screen:
    """Takes as many frames as it is allowed to."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)

    def show(self, frame, at_s) -> None:
        assert self.allowed.acquire(timeout=WAIT_S)


class Scene:
    """Receipts and the paced sink as a stream uses them: chunks are planned, then dropped or given to the sink."""

    def __init__(self) -> None:
        self.bus, self.screen = EventBus(), Screen()
        self.heard = self.bus.subscribe(lambda: None)
        self.events: list[dict] = []
        self.receipts = Receipts(self.bus, Metrics())
        self.sink = PacedSink([self.screen], FPS, placeholder(SIZE, SIZE), Metrics(), self.receipts.shown)
        self.updates = self.index = 0
        self.moved: list[UpdateRecord] = []

    def plan(self, with_update: bool) -> InFlightChunk:
        updates, self.moved = self.moved, []
        if with_update:
            self.updates += 1
            updates.append(UpdateRecord(f"u{self.updates}", "a", self.index, 0.0))
            assert self.receipts.accepted(updates[-1])
        envelope = envelope_for_plan(plan_for(chunk_index=self.index))
        record = ChunkRecord(self.index, 0, self.index + 1, 0.0, 0.0, 0.0, 0)
        encoded = wire.pack_envelope(envelope)
        planned = InFlightChunk(envelope, encoded, StreamFence(LATENTS.device), record, updates)
        self.index += 1
        self.receipts.planned(planned)
        return planned

    def emit(self, planned: InFlightChunk) -> None:
        decoded = chunk(planned.index, FRAMES, first=0, update_ids=[update.id for update in planned.updates])
        self.receipts.emitted(planned, LATENTS, decoded)
        self.sink.put(decoded)

    def drop(self, planned: InFlightChunk) -> None:
        self.moved += planned.updates

    def show_all(self) -> None:
        """A last chunk without an update, and all that is queued before it."""
        self.emit(self.plan(with_update=False))
        while not self.sink.wait_for_room(0):
            self.screen.allowed.release()

    def close(self) -> None:
        self.screen.allowed.release(10_000)
        self.sink.close()

    def of_updates(self) -> list[dict]:
        self.events += self.heard.drain()
        return [event for event in self.events if "update" in event]


ACTS = st.sampled_from(["chunk", "update", "update", "lost", "lost update", "cut", "show", "show", "show"])


@given(st.lists(ACTS, max_size=25), st.booleans())
def test_every_update_ends_once_whatever_becomes_of_its_chunk(acts, ends_early):
    scene = Scene()
    try:
        for act in acts:
            if act in ("chunk", "update"):
                scene.emit(scene.plan(act == "update"))
            elif act in ("lost", "lost update"):
                scene.drop(scene.plan(act == "lost update"))
            elif act == "cut":
                scene.sink.flush()
            else:
                scene.screen.allowed.release()
        if ends_early:
            scene.receipts.end("the stream has ended")
        scene.show_all()
    finally:
        scene.close()
    events = scene.of_updates()
    ends = Counter(event["update"] for event in events if event["event"] in FINAL)
    assert ends == {f"u{number}": 1 for number in range(1, scene.updates + 1)}
    last = {event["update"]: event["event"] for event in events}
    assert set(last.values()) <= set(FINAL)  # nothing comes after the end
    if scene.updates and not ends_early:
        assert last[f"u{scene.updates}"] == "visible"
    assert [event["id"] for event in scene.events] == list(range(1, len(scene.events) + 1))


def test_an_update_whose_frames_a_cut_throws_away_is_visible_with_the_next_chunk():
    scene = Scene()
    scene.emit(scene.plan(with_update=False))
    scene.emit(scene.plan(with_update=True))
    scene.sink.flush()
    scene.show_all()
    scene.close()
    ends = [(event["event"], event["chunk"]) for event in scene.of_updates() if event["event"] in FINAL]
    assert ends == [("visible", 2)]


def test_of_several_updates_that_one_chunk_is_the_first_to_show_only_the_newest_is_visible():
    scene = Scene()
    scene.drop(scene.plan(with_update=True))
    scene.emit(scene.plan(with_update=True))
    scene.sink.flush()
    scene.emit(scene.plan(with_update=True))
    scene.show_all()
    scene.close()
    ends = {event["update"]: event for event in scene.of_updates() if event["event"] in FINAL}
    assert [ends[name]["event"] for name in ("u1", "u2", "u3")] == ["superseded", "superseded", "visible"]
    assert (ends["u1"]["by"], ends["u2"]["by"]) == ("u3", "u3")


def test_after_the_end_no_update_is_taken():
    scene = Scene()
    scene.receipts.end("the stream has ended")
    assert not scene.receipts.accepted(UpdateRecord("u1", "a", 0, 0.0))
    scene.close()
    assert scene.of_updates() == []
