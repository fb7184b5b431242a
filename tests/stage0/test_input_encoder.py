"""What a chunk takes of an input: each frame once and in order, a fresh state for each epoch, failures told."""

import itertools

import pytest
import torch

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.models.vae.base import EncodeState, count_latents
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.stage0.input_encoder import InputEncoder, InputFrames, largest_difference
from pp1_orchestrator.stage0.input_modes import ImageStart, InputChunk, MotionNoise, NoiseInjection
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.response_timer import ResponseTimer

CPU = torch.device("cpu")
COUNTS = InputFrames(9, 12)


class NumberedEncoder:
    """A StreamingEncoder whose latents are the numbers of its frames; it checks the counts as the real ones do."""

    weight_bytes = 0

    def encode(self, frames: torch.Tensor, state: EncodeState) -> torch.Tensor:
        count_latents(len(frames), state.started, 4)
        state.started = True
        return (frames[:, :1, :1, :1] + 1) * 127.5


def numbered(count: int | None = None):
    numbers = itertools.count() if count is None else range(count)
    return (torch.full((2, 2, 3), number % 256, dtype=torch.uint8) for number in numbers)


def make(frames=None, counts=COUNTS, with_motion: bool = False) -> InputEncoder:
    timer = ResponseTimer(60, 60, warm=0)
    return InputEncoder(frames or numbered(), NumberedEncoder(), counts, CPU, SpanRecorder(0), timer, with_motion)


def numbers(chunk: InputChunk | None) -> list[int]:
    assert chunk is not None
    return chunk.latents.flatten().round().int().tolist()


def test_chunks_take_every_frame_once_and_in_order():
    encoder = make()
    assert numbers(encoder.take(first=True)) == list(range(9))
    assert numbers(encoder.take(first=False)) == list(range(9, 21))
    assert numbers(encoder.take(first=False)) == list(range(21, 33))
    assert encoder.close(60)


def test_an_epoch_begins_where_the_last_taken_chunk_ended():
    encoder = make()
    encoder.take(first=True)
    for start in (9, 18):
        assert numbers(encoder.take(first=True)) == list(range(start, start + 9))
    assert numbers(encoder.take(first=False)) == list(range(27, 39))
    assert encoder.close(60)


def test_a_mode_that_only_starts_takes_nothing_later():
    encoder = make(counts=InputFrames(9, 0))
    assert numbers(encoder.take(first=True)) == list(range(9))
    assert encoder.take(first=False) is None
    assert numbers(encoder.take(first=True)) == list(range(9, 18))
    assert encoder.close(60)


def test_the_first_frame_of_an_epoch_can_be_repeated_before_it():
    encoder = make(counts=InputFrames(12, 12, repeated=9))
    for first, start in ((True, 0), (False, 12), (True, 24)):
        chunk = encoder.take(first)
        assert numbers(chunk) == list(range(start, start + 12))
        assert chunk is not None
        before = [] if chunk.before is None else numbers(InputChunk(chunk.before))
        assert before == ([start] * 9 if first else [])
    assert encoder.close(60)


def test_motion_is_measured_from_the_frame_before_the_chunk():
    frames = [0] * 9 + [20] * 12 + [25] * 12
    encoder = make(
        (torch.full((2, 2, 3), value, dtype=torch.uint8) for value in [*frames, *[25] * 99]), with_motion=True
    )
    chunks = [encoder.take(first) for first in (True, False, False, False, True)]
    assert [chunk and chunk.motion for chunk in chunks] == pytest.approx([0, 20 / 127.5, 5 / 127.5, 0, 0], abs=1e-6)
    assert encoder.close(60)


def test_a_failure_is_one_line_in_the_thread_that_takes():
    encoder = make(numbered(count=15))
    encoder.take(first=True)
    with pytest.raises(Stage0Error, match=r"^the input can't be encoded: StopIteration"):
        encoder.take(first=False)


def test_the_largest_difference_is_that_of_two_neighbours():
    pixels = torch.tensor([0.0, 0.1, 0.6, 0.6]).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert largest_difference(pixels) == pytest.approx(0.5)
    assert largest_difference(pixels[:1]) == 0


STEPS = (1000.0, 750.0, 500.0, 250.0)
FOUND = InputChunk(torch.zeros(1, 3, 16, 2, 2), motion=0.2)


@pytest.mark.parametrize("mode", [NoiseInjection, MotionNoise])
def test_strength_one_is_text_alone(mode):
    start = mode(FlowSchedule()).start(FOUND, STEPS, 1.0, first=True)
    assert start.steps == STEPS
    assert start.latents is None


def test_motion_of_an_epochs_first_chunk_does_not_count():
    mode = MotionNoise(FlowSchedule())
    levels = [mode.start(FOUND, STEPS, 0.8, first).noise_level for first in (True, False, False, True)]
    assert levels == pytest.approx([0.8, 0.71, 0.701, 0.8])


def test_an_image_start_makes_all_steps_and_only_the_first_chunk_has_something_before_it():
    mode = ImageStart(FlowSchedule())
    start = mode.start(FOUND, STEPS, 0.3, first=True)
    assert (start.steps, start.latents, start.prefill is FOUND.latents) == (STEPS, None, True)
    assert mode.start(None, STEPS, 0.3, first=False).prefill is None
