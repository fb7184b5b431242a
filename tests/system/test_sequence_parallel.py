"""A stream of a sequence-parallel mesh: one video with all routings and overlaps, at every start."""

import itertools
from functools import cache

import pytest

from pp1_orchestrator.app.strategy_registry import OVERLAPS, ROUTINGS
from pp1_orchestrator.types import TimelineEntry
from tests.system.in_process import run_script

CHUNKS = 6
SCRIPT = [
    TimelineEntry(chunk=0, prompt="a red circle moving left on a blue background"),
    TimelineEntry(chunk=2, prompt="a green square moving right on a white background", cut="recache"),
    TimelineEntry(chunk=4, prompt="a yellow triangle moving up on a black background", cut="hard"),
]
SOME = [("rank0_encoder", "sync"), ("hybrid_cache", "stage0_owned")]
ALL = list(itertools.product(ROUTINGS, OVERLAPS))


@pytest.fixture(scope="module")
def made():
    """Summary and latents of a short stream, with a routing and an overlap."""

    @cache
    def run(routing, overlap, *choices):
        words = choices or ("layout=cpu", "parallel=sequence")
        summary, run = run_script(f"routing={routing}", f"overlap={overlap}", *words, chunks=CHUNKS, script=SCRIPT)
        return summary, run.kept.latents

    return run


@pytest.mark.parametrize("pairs", [SOME, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"])
def test_every_start_makes_one_video(made, pairs):
    digests = {(made(*pair)[0].latents_sha256, made(*pair)[0].pixels_sha256) for pair in pairs}
    assert len(digests) == 1


def test_it_is_the_video_of_one_rank_but_for_rounding(made):
    summary, latents = made(*SOME[0])
    _, alone = made(*SOME[0], "layout=inline")
    assert summary.config.parallel == "sequence"
    for own, other in zip(latents, alone, strict=True):
        assert float((own - other).norm() / other.norm()) <= 1e-5


def test_each_rank_holds_all_weights_and_half_of_the_cache(made):
    split, alone = (made(*SOME[0], *choices)[0].memory for choices in ((), ("layout=inline",)))
    for rank in ("1", "2"):
        assert split[rank]["generator"] == alone["1"]["generator"]
        assert split[rank]["kv_cache"] == alone["1"]["kv_cache"] // 2
