"""Every cache policy gives one video with all routings and overlaps; chunks may have one latent frame."""

import itertools
from functools import cache

import pytest

from pp1_orchestrator.app.strategy_registry import OVERLAPS, ROUTINGS
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.cache_policies import CACHES
from pp1_orchestrator.types import TimelineEntry
from tests.system.in_process import make_settings, run_script

SIZE = ("stream.height=32", "stream.width=32")
WINDOWS = {
    "ring": ("model.window.sink=3",),
    "ema_sink": ("model.window.sink=3", "cache.decay=0.5"),
    "adaptive_sink": ("model.window.sink=3", "cache.threshold=1"),
    "memory_bank": ("model.window.sink=3", "cache.bank=2", "cache.record_every=1"),
    "pinned": ("model.window.sink=6",),
}
CHUNKS = 7
SCRIPT = [
    TimelineEntry(chunk=0, prompt="a red circle moving left on a blue background"),
    TimelineEntry(chunk=3, prompt="a green square moving right on a white background"),
    TimelineEntry(chunk=5, prompt="a yellow triangle moving up on a black background", cut="recache"),
]
SOME = [("rank0_encoder", "sync"), ("hybrid_cache", "stage0_owned")]
ALL = list(itertools.product(ROUTINGS, OVERLAPS))


@pytest.fixture(scope="module")
def digest():
    """Of the latents of a short stream, with a cache, a routing and an overlap."""

    @cache
    def made(name, routing, overlap):
        choices = (f"cache={name}", f"routing={routing}", f"overlap={overlap}", "model.window.frames=9")
        return run_script(*SIZE, *choices, *WINDOWS[name], chunks=CHUNKS, script=SCRIPT)[0].latents_sha256

    return made


@pytest.mark.parametrize("pairs", [SOME, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("name", CACHES)
def test_a_cache_gives_one_video(digest, name, pairs):
    assert len({digest(name, *pair) for pair in pairs}) == 1


def test_each_cache_gives_another_video(digest):
    assert len({digest(name, *SOME[0]) for name in CACHES}) == len(CACHES)


@pytest.mark.parametrize("name", CACHES)
def test_chunks_of_one_latent_frame(name):
    """Four pixel frames a chunk, one in the first; decoded as they are with any other cut of the stream."""
    sink = "model.window.sink=2" if name == "pinned" else "model.window.sink=1"
    window = ("model.window.chunk=1", "model.window.frames=5", sink, "cache.record_every=1")
    bank = ("cache.bank=2",) if name == "memory_bank" else ()
    summary, run = run_script(*SIZE, f"cache={name}", *window, *bank, chunks=9, script=SCRIPT)
    assert summary.frames == 1 + 8 * 4
    assert [len(chunk.frames) for chunk in run.sink.chunks] == [1] + [4] * 8
    assert summary.config.cache == name
    assert all(tuple(latents.shape) == (1, 1, 16, 4, 4) for latents in run.kept.latents)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (("cache=ema_sink",), "cache=ema_sink: averages whole chunks, so model.window.sink must be 3"),
        (("cache=pinned",), "cache=pinned: needs a sink, so model.window.sink must be 3 or more"),
        (("cache=memory_bank", "cache.bank=0"), "cache=memory_bank: needs a bank, so cache.bank must be 1 or more"),
        (("cache=ema_sink", "model.window.sink=3", "context=none"), "context=none: cache=ema_sink needs clean history"),
        (("cache=memory_bank", "context.rope=relative"), "context.rope=relative: cache=memory_bank keeps frames"),
    ],
)
def test_a_cache_that_can_not_be_is_one_line(choices, said):
    with pytest.raises(ConfigError) as refused:
        make_settings(*choices)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
