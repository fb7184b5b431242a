"""The ring of keys and values against a list that keeps every frame for ever."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache

LAYERS, HEADS, HEAD_DIM, TOKENS = 2, 2, 3, 2


@dataclass(frozen=True)
class Sizes:
    chunk: int
    window: int
    sink: int


@st.composite
def sizes(draw):
    chunk = draw(st.integers(1, 3))
    ring, sink = chunk * draw(st.integers(1, 4)), chunk * draw(st.integers(0, 2))
    return Sizes(chunk, sink + ring, sink)


def make_cache(size: Sizes) -> KVCache:
    config = WanConfig(
        dim=HEADS * HEAD_DIM,
        ffn_dim=1,
        num_heads=HEADS,
        num_layers=LAYERS,
        chunk_frames=size.chunk,
        local_attn_size=size.window,
        sink_frames=size.sink,
    )
    return KVCache(config, (2, 2 * TOKENS))


def frame_tensor(layer: int, frame: int, number: int) -> torch.Tensor:
    """[TOKENS, HEADS, HEAD_DIM], other numbers for every layer, frame and pass; exact in float32."""
    first = ((layer * 64 + frame) * 256 + number) * TOKENS * HEADS * HEAD_DIM
    return torch.arange(first, first + TOKENS * HEADS * HEAD_DIM, dtype=torch.float32).view(TOKENS, HEADS, HEAD_DIM)


def in_order(frames: list[torch.Tensor]) -> list[list[float]]:
    return sorted(frame.flatten().tolist() for frame in frames)


class Stream:
    """A cache and beside it, by layer, a list of all frames as they were last written."""

    def __init__(self, size: Sizes) -> None:
        self.size, self.cache, self.passes = size, make_cache(size), 0
        self.frames: list[list[torch.Tensor]] = [[] for _ in range(LAYERS)]

    def one_pass(self, start: int) -> None:
        """Write a chunk in every layer and compare what it may attend to. An earlier start is a new stream."""
        self.passes += 1
        self.cache.begin(start)
        for layer, frames in enumerate(self.frames):
            new = [frame_tensor(layer, f, self.passes) for f in range(start, start + self.size.chunk)]
            frames[start:] = new
            k = torch.cat(new)[None]
            for slot, new in zip(self.cache.slots(layer), (k, -k), strict=True):
                slot.copy_(new)
            keys, values = self.cache.visible(layer)
            oldest = max(self.size.sink, len(frames) - (self.size.window - self.size.sink))
            assert in_order(list(keys[0].split(TOKENS))) == in_order(frames[: self.size.sink] + frames[oldest:])
            assert torch.equal(values, -keys)


@given(sizes(), st.lists(st.integers(1, 3), min_size=1, max_size=9), st.integers(0, 3))
def test_a_chunk_attends_to_the_sink_and_the_last_frames(size, passes, after_reset):
    stream = Stream(size)
    for index, count in enumerate(passes):
        for _ in range(count):  # repeated passes take the same slots
            stream.one_pass(index * size.chunk)
    for index in range(after_reset):  # nothing of the old stream is seen again
        stream.one_pass(index * size.chunk)


@given(sizes(), st.integers(0, 50))
def test_a_start_between_chunks_is_refused(size, start):
    cache = make_cache(size)
    if start % size.chunk:
        with pytest.raises(ValueError, match=f"start frame {start} is not a multiple of the chunk's {size.chunk}"):
            cache.begin(start)
    else:
        cache.begin(start)


@pytest.mark.parametrize(
    ("chunk", "window", "sink"), [(3, 10, 0), (3, 9, 1), (3, 10, 1), (3, 3, 3), (3, 0, 0), (2, 6, 8)]
)
def test_a_window_that_does_not_hold_chunks_is_refused(chunk, window, sink):
    with pytest.raises(ValueError, match=f"a window of {window} frames with {sink} sink frames does not hold chunks"):
        make_cache(Sizes(chunk, window, sink))


def test_its_size_is_that_of_its_window():
    elements = 2 * LAYERS * 9 * TOKENS * HEADS * HEAD_DIM
    assert make_cache(Sizes(3, 9, 3)).nbytes == 4 * elements
