"""Updates on their way to a chunk: the latest wins and the others are told so; planned prompts are encoded in time."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.models.text.umt5 import CACHE_SIZE, CachedEncoder
from pp1_orchestrator.stage0.pending_requests import PendingRequests
from pp1_orchestrator.stage0.prompt_queue import PromptQueue
from pp1_orchestrator.stage0.receipts import Receipts
from pp1_orchestrator.stage0.text_routing import Rank0Encoder
from pp1_orchestrator.stage0.timeline import Timeline
from pp1_orchestrator.telemetry.metrics import Metrics
from pp1_orchestrator.types import MAX_PROMPTS, PromptReceipt, PromptUpdate, TimelineEntry, WeightedPrompt

LONG = 20
"""Characters that the encoder reads."""


class GatedEncoder:
    """Encodes when it may, and remembers what; a prompt named "broken" can't be encoded."""

    error: Exception = RuntimeError("no such word")

    def __init__(self) -> None:
        self.may = threading.Event()
        self.texts: list[str] = []

    def encode(self, prompts) -> torch.Tensor:
        assert self.may.wait(120)
        self.texts += prompts
        if "broken" in prompts:
            raise self.error
        return torch.zeros(len(prompts), 2, 2)


class QueueWithEncoder:
    """A queue with an encoder, and the events that it published."""

    def __init__(self) -> None:
        self.encoder, self.bus = GatedEncoder(), EventBus()
        self.subscription = self.bus.subscribe(lambda: None)
        self.metrics = Metrics()
        routing = Rank0Encoder(CachedEncoder(self.encoder.encode))
        self.receipts = Receipts(self.bus, self.metrics)
        self.queue = PromptQueue(routing, self.receipts, lambda text: LONG if len(text) > LONG else None)
        self.queue.start()

    def count(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value("pp1_prompt_updates_total", {"outcome": outcome})

    def events(self) -> list[tuple[str, str]]:
        return [(event["event"], event["update"]) for event in self.subscription.drain()]


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_an_update_answers_at_once_and_is_ready_when_it_is_encoded():
    fixture = QueueWithEncoder()
    assert fixture.queue.accept(PromptUpdate(prompt="a"), 3) == PromptReceipt("u1")
    assert fixture.queue.take() is None  # the stream still shows the old prompt
    fixture.encoder.may.set()
    wait_for(lambda: fixture.queue.next_cut() is not None)
    ready = fixture.queue.take()
    assert ready is not None
    assert (ready.record.id, ready.record.accepted_chunk, ready.text_ms > 0) == ("u1", 3, True)
    assert fixture.queue.take() is None
    fixture.queue.close(5.0)


def test_of_a_flood_the_latest_wins_and_every_other_one_is_told_so():
    fixture = QueueWithEncoder()
    for index in range(20):
        fixture.queue.accept(PromptUpdate(prompt=f"prompt {index}"), 0)
    fixture.encoder.may.set()
    wait_for(lambda: fixture.encoder.texts[-1:] == ["prompt 19"] and fixture.queue.next_cut() is not None)
    ready = fixture.queue.take()
    assert ready is not None
    assert ready.record.prompt == "prompt 19"
    events = fixture.events()
    assert [update for kind, update in events if kind == "accepted"] == [f"u{n}" for n in range(1, 21)]
    superseded = [update for kind, update in events if kind == "superseded"]
    assert sorted(superseded, key=lambda update: int(update[1:])) == [f"u{n}" for n in range(1, 20)]
    assert [record.superseded for record in fixture.queue.records] == 19 * [True] + [False]
    assert [fixture.count(outcome) for outcome in ("accepted", "superseded", "failed")] == [20, 19, 0]
    assert len(fixture.encoder.texts) <= 2  # the first may have been on its way already
    fixture.queue.close(5.0)


def test_a_known_prompt_does_not_wait_for_one_that_is_being_encoded():
    """A transition needs known prompts at each chunk, on the session's thread."""
    begun, may = threading.Event(), threading.Event()

    def encode(prompts) -> torch.Tensor:
        if prompts == ["new"]:
            begun.set()
            assert may.wait(240)
        return torch.zeros(1, 2, 2)

    encoder = CachedEncoder(encode)
    known = encoder.encode("known")
    with ThreadPoolExecutor(2) as pool:
        pool.submit(encoder.encode, "new")
        try:
            assert begun.wait(120)
            assert pool.submit(encoder.encode, "known").result(60) is known
        finally:
            may.set()


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("no such word\nfor this"), "RuntimeError: no such word"), (IndexError(), "IndexError")],
)
def test_a_prompt_that_cannot_be_encoded_fails_alone(error, reason):
    fixture = QueueWithEncoder()
    fixture.encoder.error = error
    fixture.encoder.may.set()
    fixture.queue.accept(PromptUpdate(prompt="broken"), 0)
    wait_for(lambda: fixture.encoder.texts == ["broken"])
    fixture.queue.accept(PromptUpdate(prompt="fine"), 0)
    wait_for(lambda: fixture.queue.next_cut() is not None)
    failed = [event for event in fixture.subscription.drain() if event["event"] == "failed"]
    assert [(event["update"], event["reason"]) for event in failed] == [("u1", reason)]
    assert fixture.count("failed") == 1
    fixture.queue.close(5.0)


def test_a_planned_prompt_that_cannot_be_encoded_yet_does_not_keep_the_next_one_from_it():
    fixture = QueueWithEncoder()
    fixture.encoder.error = IndexError("index 9 is out of range")
    fixture.encoder.may.set()
    fixture.queue.prefetch([PromptUpdate(prompt="broken"), PromptUpdate(prompt="fine")])
    wait_for(lambda: fixture.encoder.texts == ["broken", "fine"])
    fixture.queue.close(5.0)


def test_a_planned_prompt_that_cannot_be_encoded_fails_alone_where_there_is_another_to_go_on_with():
    fixture = QueueWithEncoder()
    fixture.encoder.may.set()
    requests = PendingRequests(
        fixture.queue, Timeline([TimelineEntry(chunk=chunk, prompt="broken") for chunk in (0, 5)]), None
    )
    with pytest.raises(RuntimeError, match="no such word"):
        requests.take(0, -1, settled=True)
    fixture.queue.accept(PromptUpdate(prompt="live"), 3)
    wait_for(lambda: fixture.queue.next_cut() is not None)
    assert requests.take(5, 4, settled=True).update is None
    live = requests.take(6, 5, settled=True).update
    assert live is not None
    assert live.record.prompt == "live"
    assert [update for kind, update in fixture.events() if kind == "failed"] == ["u1", "u3"]
    assert fixture.count("failed") == 2
    fixture.queue.close(5.0)


def test_planned_prompts_are_encoded_before_their_time_but_after_live_ones():
    fixture = QueueWithEncoder()
    timeline = Timeline([TimelineEntry(chunk=chunk, prompt=f"planned {chunk}") for chunk in (5, 9)])
    requests = PendingRequests(fixture.queue, timeline, None)
    fixture.queue.accept(PromptUpdate(prompt="live"), 0)
    requests.prefetch(1)
    fixture.encoder.may.set()
    wait_for(lambda: len(fixture.encoder.texts) == 3)
    assert fixture.encoder.texts == ["live", "planned 5", "planned 9"]
    request = requests.take(5, 4, settled=True)
    assert request.update is not None
    assert request.update.record.prompt == "planned 5"
    assert len(fixture.encoder.texts) == 3  # nothing had to be encoded on the session's thread
    live = requests.take(6, 5, settled=True).update
    assert live is not None
    assert live.record.prompt == "live"  # it had to wait for a chunk of its own
    fixture.queue.close(5.0)


def test_a_timeline_with_an_update_for_every_chunk_keeps_no_live_one_waiting():
    fixture = QueueWithEncoder()
    fixture.encoder.may.set()
    timeline = Timeline([TimelineEntry(chunk=chunk, prompt=f"planned {chunk}") for chunk in range(10)])
    requests = PendingRequests(fixture.queue, timeline, None)
    fixture.queue.accept(PromptUpdate(prompt="live"), 0)
    wait_for(lambda: fixture.queue.next_cut() is not None)
    taken = [requests.take(chunk, chunk - 1, settled=True).update for chunk in range(3)]
    assert [update.record.prompt for update in taken if update] == ["planned 0", "planned 1", "planned 2"]
    assert [update for kind, update in fixture.events() if kind == "superseded"] == ["u1"]
    assert fixture.queue.next_cut() is None
    fixture.queue.close(5.0)


def test_after_the_end_of_the_stream_updates_are_refused_and_what_is_planned_is_not_reported():
    fixture = QueueWithEncoder()
    fixture.encoder.may.set()
    fixture.queue.accept(PromptUpdate(prompt="a"), 0)
    fixture.receipts.end("the stream has ended")
    with pytest.raises(RequestError, match="the stream is ending") as refused:
        fixture.queue.accept(PromptUpdate(prompt="b"), 0)
    assert refused.value.status == 503
    assert fixture.queue.prepare(PromptUpdate(prompt="c"), 0) is not None
    assert fixture.events() == [("accepted", "u1"), ("failed", "u1")]
    fixture.queue.close(5.0)


def test_what_is_encoded_ahead_fits_in_the_cache_beside_what_is_shown():
    fixture = QueueWithEncoder()
    fixture.encoder.may.set()
    blends = [
        PromptUpdate(prompts=tuple(WeightedPrompt(f"{update} {number}") for number in range(MAX_PROMPTS)))
        for update in range(8)
    ]
    fixture.queue.prefetch(blends)
    wait_for(lambda: "0 7" in fixture.encoder.texts)
    fixture.queue.accept(PromptUpdate(prompt="live"), 0)
    wait_for(lambda: fixture.queue.next_cut() is not None)
    fixture.queue.close(5.0)
    assert MAX_PROMPTS <= len(fixture.encoder.texts) - 1 <= CACHE_SIZE // 4


def test_a_seed_is_never_taken_without_its_cut():
    fixture = QueueWithEncoder()
    requests = PendingRequests(fixture.queue, Timeline([]), None)
    seen = []

    def plan() -> None:
        while len(seen) < 500:
            request = requests.take(1, 0, settled=True)
            if request.seed is not None or request.cut is not None:
                seen.append(request)

    thread = threading.Thread(target=plan)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        while thread.is_alive():
            requests.request_cut("seed", 7)
    finally:
        sys.setswitchinterval(before)
        fixture.encoder.may.set()
        fixture.queue.close(5.0)
    assert {(request.seed, request.cut) for request in seen} == {(7, "seed")}


def test_an_update_that_reads_the_history_again_waits_until_all_of_it_is_here():
    fixture = QueueWithEncoder()
    fixture.encoder.may.set()
    requests = PendingRequests(fixture.queue, Timeline([]), None)
    fixture.queue.accept(PromptUpdate(prompt="again", cut="recache"), 0)
    wait_for(lambda: fixture.queue.next_cut() == "recache")
    assert requests.must_wait(1)
    assert requests.take(1, 0, settled=False).update is None
    update = requests.take(2, 1, settled=True).update
    assert update is not None
    assert update.record.prompt == "again"
    assert not requests.must_wait(3)
    fixture.queue.close(5.0)


def test_a_prompt_that_is_longer_than_the_encoder_reads_is_taken_and_said_to_be_cut():
    fixture = QueueWithEncoder()
    blend = (WeightedPrompt("short"), WeightedPrompt("x" * (LONG + 1)))
    assert fixture.queue.accept(PromptUpdate(prompts=blend), 0) == PromptReceipt("u1", truncated=True, read_chars=LONG)
    assert fixture.queue.accept(PromptUpdate(prompt="x" * LONG), 0) == PromptReceipt("u2")
    accepted = fixture.subscription.drain()[:2]
    assert [(event.get("truncated"), event.get("read_chars")) for event in accepted] == [(True, LONG), (None, None)]
    assert [record.truncated for record in fixture.queue.records] == [True, False]
    fixture.encoder.may.set()
    fixture.queue.close(30)
