"""Server-sent events over a real connection."""

import asyncio
import collections
import contextlib
import json
import threading
import time
from dataclasses import replace

import httpx
import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.event_bus import QUEUE_LIMIT, EventBus
from pp1_orchestrator.server.server_settings import Limits
from pp1_orchestrator.server.sse import OPENING, EventStreams
from tests.server.conftest import LIMITS
from tests.timing import stopwatch

ENDS_S = 3
"""On an idle machine."""


class Follower:
    """Reads /api/events in its own thread."""

    def __init__(self, url: str) -> None:
        self.events: list[tuple[str, str, dict]] = []
        self.comments: list[str] = []
        self.status: int | None = None
        self.changed = threading.Condition()
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url,), daemon=True)
        self._thread.start()

    def wait_for(self, predicate) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: predicate(self), 120), (self.status, self.events, self.comments)

    def _run(self, url) -> None:
        with contextlib.suppress(httpx.HTTPError), httpx.stream("GET", f"{url}/api/events", timeout=120) as answer:
            fields = {}
            for line in answer.iter_lines():
                with self.changed:
                    self.status = answer.status_code
                    if line.startswith(":"):
                        self.comments.append(line)
                    elif line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    elif "event" in fields:
                        self.events.append((fields["id"], fields["event"], json.loads(fields["data"])))
                        fields = {}
                    self.changed.notify_all()
        with self.changed:
            self.ended.set()
            self.changed.notify_all()


def test_events_arrive_in_order_from_any_thread(listening, parts):
    followers = [Follower(listening.url) for _ in range(2)]
    for follower in followers:
        follower.wait_for(lambda f: f.comments)
    httpx.post(f"{listening.url}/api/prompt", json={"prompt": "a red circle"}, timeout=120)
    threading.Thread(target=lambda: parts.events.publish("applied", update="u1", chunk=5)).start()
    for follower in followers:
        follower.wait_for(lambda f: len(f.events) == 2)
    parts.events.publish("visible", update="u1", chunk=5, latency_ms=412.0)
    for follower in followers:
        follower.wait_for(lambda f: len(f.events) == 3)
        assert [name for _, name, _ in follower.events] == ["accepted", "applied", "visible"]
        assert [int(number) for number, _, _ in follower.events] == [1, 2, 3]
        assert follower.events[0][2]["prompt"] == "a red circle"
        assert follower.events[1][2]["chunk"] == 5


def test_what_happens_when_the_server_ends_is_still_sent(listening, parts, monkeypatch):
    def end_updates() -> None:
        parts.events.publish("failed", update="u1", reason="the stream has ended")

    monkeypatch.setattr(parts.stream, "end_updates", end_updates)
    follower = Follower(listening.url)
    follower.wait_for(lambda f: f.comments)
    assert listening.stop()
    assert follower.ended.wait(120)
    assert [(name, event["update"]) for _, name, event in follower.events[:1]] == [("failed", "u1")]


def test_a_silent_stream_sends_heartbeats(listening):
    follower = Follower(listening.url)
    follower.wait_for(lambda f: len(f.comments) >= 3)


def test_one_stream_too_many_is_refused_until_another_closes(listening):
    with httpx.stream("GET", f"{listening.url}/api/events", timeout=120) as first:
        follower = Follower(listening.url)
        follower.wait_for(lambda f: f.comments)
        lines = first.iter_lines()
        assert next(lines)
        assert httpx.get(f"{listening.url}/api/events", timeout=120).status_code == 503
    deadline = time.monotonic() + 120
    while True:
        with httpx.stream("GET", f"{listening.url}/api/events", timeout=120) as again:
            if again.status_code == 200:
                break
        assert time.monotonic() < deadline


def test_an_open_stream_counts_before_it_starts_and_not_after_it_is_collected():
    async def scene():
        streams = EventStreams(EventBus(), LIMITS)
        begun, waiting = streams.open(), streams.open()
        with pytest.raises(RequestError, match="at most 2 event streams are open"):
            streams.open()
        assert await anext(begun) == OPENING
        del waiting
        assert len(streams._wakes) == 1
        streams.close_all()
        assert [part async for part in begun] == []
        return len(streams._wakes)

    assert asyncio.run(scene()) == 0


def test_no_address_holds_all_streams():
    streams = EventStreams(EventBus(), replace(LIMITS, event_streams=4, event_streams_per_client=2))
    crowd = [streams.open("10.0.0.1") for _ in range(2)]
    with pytest.raises(RequestError, match="at most 2 event streams of one address are open"):
        streams.open("10.0.0.1")
    others = [streams.open("10.0.0.2") for _ in range(2)]
    del crowd, others
    assert streams.open("10.0.0.1")


def test_the_shipped_share_leaves_places_for_others():
    limits = Limits()
    assert limits.event_streams_per_client <= limits.event_streams / 2
    assert limits.connections_per_client <= limits.connections / 2


def test_open_streams_end_when_the_server_does(listening):
    follower = Follower(listening.url)
    follower.wait_for(lambda f: f.comments)
    with stopwatch() as watch:
        assert listening.stop(timeout_s=120)
        assert follower.ended.wait(120)
    assert watch.within(ENDS_S)


def test_a_client_that_does_not_read_costs_a_bounded_queue():
    bus = EventBus()
    subscription = bus.subscribe(lambda: None)
    for number in range(QUEUE_LIMIT + 50):
        bus.publish("tick", number=number)
    kept = subscription.drain()
    assert len(kept) == QUEUE_LIMIT
    assert kept[-1]["number"] == QUEUE_LIMIT + 49
    assert subscription.dropped == 50


def test_a_client_may_read_while_its_full_queue_is_pushed_to(monkeypatch):
    class ReadBetween(collections.deque):
        """A queue that is read right after its length was checked."""

        def __len__(self) -> int:
            length = super().__len__()
            if length == QUEUE_LIMIT and threading.current_thread() is threading.main_thread():
                reader = threading.Thread(target=subscription.drain)
                reader.start()
                reader.join(0.1)
            return length

    monkeypatch.setattr("pp1_orchestrator.event_bus.deque", ReadBetween)
    bus = EventBus()
    subscription = bus.subscribe(lambda: None)
    for number in range(QUEUE_LIMIT + 1):
        bus.publish("tick", number=number)


@pytest.mark.parametrize("late", [0, 1])
def test_events_before_a_subscription_are_not_sent(listening, parts, late):
    if not late:
        parts.events.publish("early")
    follower = Follower(listening.url)
    follower.wait_for(lambda f: f.comments)
    parts.events.publish("late")
    follower.wait_for(lambda f: f.events)
    assert [name for _, name, _ in follower.events] == ["late"]
