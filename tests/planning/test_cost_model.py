"""Predicted periods and latencies, as a table: seconds in, seconds out."""

import pytest

from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.planning.cost_model import Phases, period_s, prompt_latency

MESH_BOUND = Phases(denoise=8, clean_pass=2, decode=3, overhead=0.5)
STAGE0_BOUND = Phases(denoise=8, clean_pass=2, decode=15, overhead=0.5)
SHORT_DECODE = Phases(denoise=8, clean_pass=2, decode=1, overhead=0.5)
NO_CONTEXT = Phases(denoise=8, decode=3, overhead=0.5)
RECOMPUTE = Phases(denoise=8, recompute=2, decode=3, overhead=0.5)
ANCHOR = Phases(denoise=8, recompute=2, decode=3, encode=0.25, overhead=0.5, anchored=True)
ANCHOR_STAGE0_BOUND = Phases(denoise=8, recompute=2, decode=15, encode=0.25, overhead=0.5, anchored=True)

CASES = {
    # phases: (sync, overlapped) with a mesh in other processes; (sync and loop_ahead, overlapped) in one process
    "mesh bound": (MESH_BOUND, (11.5, 10.5), (13.5, 10.5)),
    "stage 0 bound": (STAGE0_BOUND, (23.5, 15.5), (25.5, 15.5)),
    "clean pass longer than decode": (SHORT_DECODE, (10.5, 10.5), (11.5, 10.5)),
    "no context": (NO_CONTEXT, (11.5, 8.5), (11.5, 8.5)),
    "recompute": (RECOMPUTE, (13.5, 10.5), (13.5, 10.5)),
    "anchor": (ANCHOR, (13.75, 11.75), (13.75, 11.75)),
    "anchor, stage 0 bound": (ANCHOR_STAGE0_BOUND, (25.75, 15.75), (25.75, 15.75)),
}


@pytest.mark.parametrize(("phases", "spawned", "inline"), CASES.values(), ids=CASES.keys())
def test_periods(phases, spawned, inline):
    assert period_s(STRATEGIES.overlaps["sync"], phases, one_process=False, parallel_ranks=None) == spawned[0]
    for overlap in ("stage0_owned", "loop_ahead", "decode_thread"):
        assert period_s(STRATEGIES.overlaps[overlap], phases, one_process=False, parallel_ranks=None) == spawned[1]
    for overlap in ("sync", "loop_ahead"):
        assert period_s(STRATEGIES.overlaps[overlap], phases, one_process=True, parallel_ranks=None) == inline[0]
    for overlap in ("stage0_owned", "decode_thread"):
        assert period_s(STRATEGIES.overlaps[overlap], phases, one_process=True, parallel_ranks=None) == inline[1]


BUSY = Phases(denoise=8, clean_pass=2, decode=6, overhead=0.5, mesh_busy=20, clean_pass_busy=4, stage0_busy=6)
"""Two ranks that never wait for each other."""


@pytest.mark.parametrize(
    ("overlap", "parallel_ranks", "expected"),
    [
        ("stage0_owned", 3, 10.5),
        ("stage0_owned", 2, 13.5),
        ("stage0_owned", 1, 26.5),
        ("sync", 3, 14.5),
        ("sync", 2, 14.5),
        ("sync", 1, 18.5),
    ],
)
def test_ranks_share_the_cores_there_are(overlap, parallel_ranks, expected):
    assert period_s(STRATEGIES.overlaps[overlap], BUSY, one_process=False, parallel_ranks=parallel_ranks) == expected


@pytest.mark.parametrize("overlap", STRATEGIES.overlaps)
def test_a_prompt_waits_two_chunks_at_worst_while_text_is_quick(overlap):
    latency = prompt_latency(STRATEGIES.overlaps[overlap], period=0.2, decode=0.1, text=0.01, stalls=False)
    assert latency.chunks == 2
    assert latency.ms == pytest.approx(400 if overlap == "sync" else 500)


def test_slow_text_costs_rank_0_chunks_and_the_mesh_time():
    beside = prompt_latency(STRATEGIES.overlaps["stage0_owned"], period=0.2, decode=0.1, text=0.5, stalls=False)
    assert (beside.chunks, beside.ms) == (4, pytest.approx(900))
    stalled = prompt_latency(STRATEGIES.overlaps["stage0_owned"], period=0.2, decode=0.1, text=0.5, stalls=True)
    assert (stalled.chunks, stalled.ms) == (2, pytest.approx(1000))
