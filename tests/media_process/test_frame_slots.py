"""Frames through shared memory: what comes out, and that the sender never waits."""

import os
import threading

import numpy as np
import pytest

from pp1_orchestrator.media_process.frame_slots import SLOTS, FrameReceiver, FrameSender

HEIGHT, WIDTH = 32, 48


@pytest.fixture
def ends():
    """A sender, and a receiver with files of its own, as in another process."""
    sender = FrameSender(HEIGHT, WIDTH)
    memory, end = os.dup(sender.memory), sender.remote.dup()
    sender.detach()
    yield sender, FrameReceiver(memory, end, HEIGHT, WIDTH)
    sender.close()
    os.close(memory)
    end.close()


def rgb(value: int) -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


def test_frames_of_both_formats_arrive_in_order(ends):
    sender, receiver = ends
    planes = np.arange(HEIGHT * 3 // 2 * WIDTH, dtype=np.uint8).reshape(-1, WIDTH)
    assert sender.send(rgb(1), 0.5)
    assert sender.send(planes, 0.6)
    assert sender.send(rgb(3)[:, ::-1], 0.7)
    frames = receiver.frames()
    for expected, at_s in ((rgb(1), 0.5), (planes, 0.6), (rgb(3), 0.7)):
        frame, shown_s = next(frames)
        assert np.array_equal(frame, expected)
        assert shown_s == at_s
    assert not frame.flags.writeable


def test_a_full_queue_refuses_and_takes_again_what_was_given_back(ends):
    sender, receiver = ends
    assert [sender.send(rgb(value), value) for value in range(SLOTS + 1)] == [True] * SLOTS + [False]
    frames = receiver.frames()
    assert [next(frames)[1] for _ in range(2)] == [0, 1]  # asking for the second gives back the first
    assert [sender.send(rgb(9), 9) for _ in range(2)] == [True, False]


def test_the_receiver_ends_with_the_sender(ends):
    sender, receiver = ends
    seen = []
    thread = threading.Thread(target=lambda: seen.extend(at_s for _, at_s in receiver.frames()))
    thread.start()
    sender.send(rgb(1), 1.0)
    sender.close()
    thread.join(60)
    assert not thread.is_alive()
    assert seen == [1.0]
    assert sender.send(rgb(2), 2.0)  # nobody is to blame for a frame that nobody wants


def test_a_receiver_that_has_gone_costs_frames_only():
    sender = FrameSender(HEIGHT, WIDTH)
    sender.detach()
    assert [sender.send(rgb(1), 1.0) for _ in range(3)] == [False] * 3
    sender.close()
