"""The generator in float64, in every way of keeping its history, against the one that was written for reading."""

from dataclasses import dataclass

import msgspec
import pytest
import torch

from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.sampler import initial_noise, renoise_stream
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from tests.models.wan.reference_wan import ReferenceWan, noise_levels
from tests.models.wan.small_model import CONFIG, HEIGHT, WIDTH, random_model, random_text, relative_error

SEED = 11
BOUND = 1e-5
CHUNK = 3
SHAPE = (1, CHUNK, CONFIG.in_dim, HEIGHT, WIDTH)
SHIFT, WARP = 5.0, True


@dataclass(frozen=True)
class Regime:
    """rebuilt: chunks from which the history is made anew before a chunk; without, `clean`: a clean pass follows it."""

    name: str
    window: int
    sink: int = 0
    clean: bool = True
    rebuilt: int = 0
    bias: float = 1.0
    steps: tuple[float, ...] = (1000, 750, 500, 250)
    chunks: int = 6
    relative: bool = False

    @property
    def rolls(self) -> bool:
        """Whether chunks push others out of the window."""
        return not self.rebuilt and self.chunks * CHUNK > self.window


REGIMES = [
    Regime("a history that never fills the window", window=18, chunks=4),
    Regime("a window that is just full", window=12, chunks=4),
    Regime("a window that rolls", window=9),
    Regime("a window that rolls round twice", window=6, chunks=7),
    Regime("a window of one chunk", window=3, chunks=3),
    Regime("a sink in a window that rolls", window=9, sink=3),
    Regime("a sink in a window that rolls round twice", window=12, sink=6, chunks=8),
    Regime("relative positions, a sink in a window that rolls", window=9, sink=3, relative=True),
    Regime("relative positions, a longer sink", window=12, sink=6, chunks=8, relative=True),
    Regime("relative positions without a clean pass", window=9, sink=3, clean=False, relative=True),
    Regime("relative positions without a sink", window=9, relative=True),
    Regime("no clean pass, rolling", window=9, clean=False),
    Regime("no clean pass, with a sink", window=9, sink=3, clean=False),
    Regime("a recompute before each chunk", window=6, rebuilt=1, steps=(1000, 937, 833, 625)),
    Regime("a recompute of two chunks", window=9, rebuilt=2),
    Regime("a recompute that fills the window", window=6, rebuilt=2, chunks=4),
    Regime("a recompute with a sink", window=9, sink=3, rebuilt=2),
    Regime("a bias on a recompute", window=6, rebuilt=1, bias=0.3),
    Regime("a bias on a recompute of two chunks", window=9, rebuilt=2, bias=0.01),
    Regime("a bias on a history that fills the window", window=12, bias=0.3, chunks=4),
]


@pytest.fixture(scope="module")
def model():
    return random_model().double()


def make_generator(model, regime):
    sizes = msgspec.structs.replace(CONFIG, chunk_frames=CHUNK, local_attn_size=regime.window, sink_frames=regime.sink)
    cache = KVCache(sizes, (HEIGHT, WIDTH), relative=regime.relative, dtype=torch.float64)
    return CausalGenerator(model, cache, FlowSchedule(SHIFT, WARP))


class Pair:
    """The fast generator and the plain one, given the same; what was made is told apart from what is compared."""

    def __init__(self, model, regime: Regime) -> None:
        self.fast = make_generator(model, regime)
        self.plain = ReferenceWan(CONFIG, model.state_dict(), regime.window, regime.sink)
        self.plain.relative = regime.relative
        self.regime, self.levels = regime, noise_levels(regime.steps, SHIFT, WARP)
        self.made: list[torch.Tensor] = []

    def set_text(self, seed: int) -> None:
        self.fast.set_text(random_text(seed))
        self.plain.set_text(random_text(seed)[0])

    def rebuild(self, index: int) -> None:
        """From the last chunks that the plain one made; both from the same, so that errors do not add up."""
        context = torch.cat(self.made[-self.regime.rebuilt :], 1)
        start = index * CHUNK - context.shape[1]
        self.fast.rebuild(context, start)
        self.plain.forget(start)
        self.plain.bias = 1.0
        for first in range(0, context.shape[1], CHUNK):
            self.plain.flow(context[0, first : first + CHUNK], 0.0, start + first)

    def chunk(self, index: int) -> float:
        """Both make a chunk; how far they are apart."""
        start, regime = index * CHUNK, self.regime
        noise, stream = initial_noise(SEED, start, SHAPE), renoise_stream(SEED, start)
        draws = [torch.randn(SHAPE, generator=stream)[0] for _ in regime.steps[1:]]
        found = self.fast.denoise(noise, regime.steps, start, SEED, regime.bias)
        self.plain.bias = regime.bias
        wanted = self.plain.chunk(noise[0], self.levels, start, draws)
        self.made.append(wanted[None])
        if regime.clean and not regime.rebuilt:
            self.fast.write_context(found, start)
            self.plain.bias = 1.0
            self.plain.flow(wanted, 0.0, start)
        return relative_error(found[0], wanted)


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
def test_every_chunk_is_the_references(model, regime):
    pair = Pair(model, regime)
    errors = []
    for index in range(regime.chunks):
        if index in (0, 2):
            pair.set_text(index)
        if regime.rebuilt and index >= regime.rebuilt:
            pair.rebuild(index)
        errors.append(pair.chunk(index))
    assert max(errors) < BOUND, errors


def test_another_kind_of_positions_shows_once_the_window_rolls(model):
    regime = Regime("", window=9, sink=3)
    pair = Pair(model, regime)
    pair.set_text(0)
    pair.plain.relative = True
    errors = [pair.chunk(index) for index in range(5)]
    assert max(errors[:3]) < BOUND
    assert min(errors[3:]) > 100 * BOUND


def test_without_a_sink_both_kinds_of_positions_are_one_far_into_a_stream(model):
    """Frame 40,000 is 2.8 hours into a stream; the reference numbers the window's frames from 0."""
    pair, first = Pair(model, Regime("", window=9, relative=True)), 40_000 // CHUNK
    pair.set_text(0)
    pair.fast.rebuild(torch.zeros(SHAPE), (first - 1) * CHUNK)
    pair.plain.forget((first - 1) * CHUNK)
    pair.plain.flow(torch.zeros(SHAPE[1:]).double(), 0.0, (first - 1) * CHUNK)
    assert max(pair.chunk(first + index) for index in range(4)) < BOUND


def test_both_kinds_of_window_are_compared():
    assert {regime.rolls for regime in REGIMES} == {True, False}
