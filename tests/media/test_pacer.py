"""The paced sink with a consumer that keeps what it gets."""

import threading

import numpy as np
import pytest

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.pacer import MAX_CHUNKS, PacedSink
from tests.media.numbered_frames import SIZE, Counted, chunk, read_number

FPS = 60
WAIT_S = 120


class Screen:
    """Keeps numbers and times; `open` is cleared to block the pacer at its next frame."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.times: list[float] = []
        self.frames: list[np.ndarray] = []
        self.seen = threading.Condition()
        self.open = threading.Event()
        self.open.set()

    def show(self, frame, at_s) -> None:
        assert self.open.wait(WAIT_S)
        with self.seen:
            self.numbers.append(read_number(frame))
            self.frames.append(frame)
            self.times.append(at_s)
            self.seen.notify_all()

    def wait_for(self, predicate) -> None:
        with self.seen:
            assert self.seen.wait_for(predicate, WAIT_S), self.numbers


@pytest.fixture
def parts():
    """A running sink, its screen, its metrics and the chunks whose first frame was shown."""
    screen, metrics, shown = Screen(), Counted(), []

    def note(chunk, shown_at_s):
        shown.append((chunk.chunk_index, shown_at_s))

    sink = PacedSink([screen], FPS, placeholder(SIZE, SIZE), metrics, note)
    yield sink, screen, metrics, shown
    screen.open.set()
    sink.close()


def fresh(numbers):
    """Without repeats of a held frame."""
    return [n for i, n in enumerate(numbers) if i == 0 or n != numbers[i - 1]]


def test_frames_of_all_chunks_go_out_in_order(parts):
    sink, screen, metrics, shown = parts
    for index in range(4):
        assert sink.wait_for_room(WAIT_S)
        sink.put(chunk(index, first=index * 6 + 1))
    screen.wait_for(lambda: 24 in screen.numbers)
    assert fresh(screen.numbers)[1:] == list(range(1, 25))
    assert all(b > a for a, b in zip(screen.times, screen.times[1:], strict=False))
    assert [index for index, _ in shown] == [0, 1, 2, 3]
    assert metrics.drops == {}


def test_there_is_room_when_the_newest_chunk_has_begun_to_show_and_not_before(parts):
    sink, screen, _, _ = parts
    assert sink.wait_for_room(0)
    screen.open.clear()
    sink.put(chunk(0, first=1))
    sink.put(chunk(1, first=7))
    assert not sink.wait_for_room(0.05)
    screen.open.set()
    assert sink.wait_for_room(WAIT_S)
    with screen.seen:
        assert len(fresh(screen.numbers)) >= 7 - 1


def test_a_chunk_that_is_being_made_takes_room_unless_making_one_takes_long(parts):
    sink, screen, _, _ = parts
    screen.open.clear()
    sink.put(chunk(0, first=1))
    screen.open.set()
    screen.wait_for(lambda: 2 in screen.numbers)
    screen.open.clear()
    assert sink.wait_for_room(WAIT_S)
    assert not sink.wait_for_room(0, coming=1)
    slow_s = 2 * 6 / FPS
    assert sink.wait_for_room(0, coming=1, lead_s=slow_s)
    screen.open.set()


def test_a_hard_cut_forgets_what_was_not_shown_and_counts_it(parts):
    sink, screen, metrics, shown = parts
    screen.open.clear()
    sink.put(chunk(0, first=1))
    sink.put(chunk(1, first=7))
    sink.flush()
    assert sink.wait_for_room(0)
    sink.put(chunk(2, first=101, epoch=1))
    screen.open.set()
    screen.wait_for(lambda: 106 in screen.numbers)
    seen = [n for n in fresh(screen.numbers) if n]
    assert seen[-6:] == [101, 102, 103, 104, 105, 106]
    assert metrics.drops["cut"] == 12 - len(seen[:-6])
    assert 1 not in [index for index, _ in shown]
    assert metrics.depths["frames"] == 0


def test_the_last_frame_is_held_and_repeated_while_nothing_new_comes(parts):
    sink, screen, _, _ = parts
    sink.put(chunk(0, frames=1, first=5))
    screen.wait_for(lambda: screen.numbers.count(5) >= 2)
    sink.put(chunk(1, frames=1, first=6))
    screen.wait_for(lambda: 6 in screen.numbers)
    assert fresh(screen.numbers)[-2:] == [5, 6]


def test_a_producer_that_never_asks_for_room_loses_the_oldest_chunks(parts):
    sink, screen, metrics, _ = parts
    screen.open.clear()
    for index in range(MAX_CHUNKS + 3):
        sink.put(chunk(index, first=index * 6 + 1))
    assert metrics.depths["frames"] <= MAX_CHUNKS * 6 + 6
    screen.open.set()
    last = (MAX_CHUNKS + 3) * 6
    screen.wait_for(lambda: last in screen.numbers)
    assert metrics.drops["late"] + len([n for n in fresh(screen.numbers) if n]) == last


def test_a_screen_that_fails_is_reported_to_the_producer():
    class Broken:
        def show(self, frame, at_s):
            raise ValueError("no such screen")

    sink = PacedSink([Broken()], FPS, placeholder(SIZE, SIZE), Counted())
    assert sink.wait_for_room(WAIT_S)
    sink._thread.join(WAIT_S)
    with pytest.raises(Stage0Error, match="no such screen"):
        sink.put(chunk(0))
    sink.close()


def test_frames_are_shown_without_a_copy(parts):
    sink, screen, _, _ = parts
    made = chunk(0, first=1)
    sink.put(made)
    screen.wait_for(lambda: 1 in screen.numbers)
    frame = next(p for p in screen.frames if read_number(p) == 1)
    assert np.shares_memory(frame, made.frames.numpy())
