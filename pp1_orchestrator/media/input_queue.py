"""Frames of an input that wait for a chunk: a bounded queue that keeps the newest, resampled evenly when taken.

Thread-safe. Knows nothing of where frames come from.
"""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Literal, TypeVar

from pp1_orchestrator.media.frames import Frame

InputDrop = Literal["late", "cut"]
"""late: a newer frame took its place before a chunk did; cut: it was from before a hard cut."""
T = TypeVar("T")


def resample_evenly(frames: Sequence[T], count: int) -> list[T]:
    """`count` of the frames at even distances, from the first to the last, some of them repeated if there are fewer.

    Of one, the newest. Raises ValueError without frames.
    """
    if not frames:
        raise ValueError("no frames to resample")
    if count == 1:
        return [frames[-1]]
    last = len(frames) - 1
    return [frames[(2 * index * last + count - 1) // (2 * (count - 1))] for index in range(count)]


class InputQueue:
    """limit: frames that may wait."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a queue of {limit} frames: at least 1")
        self._frames: deque[Frame] = deque(maxlen=limit)
        self._lock = threading.Lock()
        self._dropped: Counter[InputDrop] = Counter()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def dropped(self) -> dict[InputDrop, int]:
        """Frames that no chunk could take, by reason."""
        with self._lock:
            return dict(self._dropped)

    def put(self, frame: Frame) -> None:
        """Add the newest frame. The oldest gives way to it where there is no room."""
        with self._lock:
            self._dropped["late"] += len(self._frames) == self._frames.maxlen
            self._frames.append(frame)

    def take(self, count: int) -> list[Frame]:
        """All that wait, resampled evenly to `count` frames. Empty if none wait, or none are asked for."""
        with self._lock:
            if not self._frames or count < 1:
                return []
            frames = list(self._frames)
            self._frames.clear()
        return resample_evenly(frames, count)

    def flush(self) -> None:
        """Drop what waits, at a hard cut."""
        with self._lock:
            self._dropped["cut"] += len(self._frames)
            self._frames.clear()
