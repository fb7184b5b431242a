"""A publish/subscribe bus for what happens to the stream. Knows nothing of HTTP.

Any thread may publish. Each subscriber has a bounded queue that drops its oldest event when full, and counts it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
QUEUE_LIMIT = 256


class Subscription:
    """One subscriber's queue. Thread-safe. wake: called from the publisher's thread after each event."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._events: deque[Event] = deque(maxlen=QUEUE_LIMIT)
        self._wake = wake
        self.dropped = 0

    def push(self, event: Event) -> None:
        with self._lock:
            self.dropped += len(self._events) == QUEUE_LIMIT
            self._events.append(event)
        self._wake()

    def drain(self) -> list[Event]:
        """All events not yet read, oldest first."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
        return events


class EventBus:
    """Fans events out to subscribers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: list[Subscription] = []
        self._sequence = 0

    def publish(self, kind: str, **data: Any) -> None:
        """Send `{"id", "event", "at", **data}` to every subscriber; `at` is Unix time in seconds."""
        with self._lock:
            self._sequence += 1
            event: Event = {"id": self._sequence, "event": kind, "at": time.time(), **data}
            for subscriber in self._subscribers:
                subscriber.push(event)

    def subscribe(self, wake: Callable[[], None]) -> Subscription:
        subscription = Subscription(wake)
        with self._lock:
            self._subscribers.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscribers.remove(subscription)
