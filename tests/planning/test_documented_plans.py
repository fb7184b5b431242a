"""The planned figures that docs/plan.md prints are those that the program plans."""

import re

import pytest

from tests.documented import ROOT
from tests.planning.test_machines import BESIDE, FAST, LARGE, MIB, WIDE, mesh_ms, planned

PAGE = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
EXAMPLE = ("model=wan2_1_1_3b", "layout=gpu_1p2", "layout.compile=true", "machine=a100x4")
WITHIN = 0.005
"""What a change of rates or counts may move a figure by before the page is to be written anew."""


def printed(row: str) -> list[float]:
    """The planned figures of a row: its last cell."""
    found = re.search(rf"^\| {re.escape(row)} \|.*\| ([\d., ]+) \|$", PAGE, re.M)
    assert found, row
    return [float(figure) for figure in found[1].split(", ")]


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("14B 320×576, four steps: generator", [(*LARGE, "layout=gpu_1p1")]),
        ("1.3B 480×832: generator", [(*WIDE, "layout=gpu_1p1")]),
    ],
)
def test_generators(row, options):
    assert printed(row) == [pytest.approx(mesh_ms(planned(*words, *FAST)), rel=WITHIN) for words in options]


def test_generators_in_8_bits():
    found = [mesh_ms(planned(*model, "layout=gpu_1p1", *FAST, "layout.fp8=true")) for model in (LARGE, WIDE)]
    rows = re.findall(r"^\| the same in fp8 \| [\d.]+ \| ([\d.]+) \|$", PAGE, re.M)
    assert list(map(float, rows)) == [pytest.approx(figure, rel=WITHIN) for figure in found]


def test_decoders():
    found = [planned(*model, "layout=gpu_1p1", *FAST).phases_ms["decode"] for model in (LARGE, WIDE)]
    assert printed("decode 320×576, 480×832") == [pytest.approx(figure, rel=WITHIN) for figure in found]


@pytest.mark.parametrize(
    ("row", "options"),
    [
        ("1.3B `gpu_1p1`: period", (*WIDE, "layout=gpu_1p1")),
        ("14B `gpu_1p1`: period", (*LARGE, "layout=gpu_1p1")),
        ("14B, two ranks, rank 0 beside the first: period", (*LARGE, "layout=gpu_1p2", BESIDE)),
    ],
)
def test_periods(row, options):
    period = planned(*options, *FAST).predicted_period_ms["stage0_owned"]
    assert printed(row) == [pytest.approx(period, rel=WITHIN)]


def test_the_example_of_four_gpus():
    plan = planned(*EXAMPLE)
    assert f"python -m pp1_orchestrator run=plan {' '.join(EXAMPLE)}" in PAGE
    for names, overlap in (("`stage0_owned`, `loop_ahead`, `decode_thread`", "stage0_owned"), ("`sync`", "sync")):
        period, latency = plan.predicted_period_ms[overlap], plan.prompt_to_pixels[overlap].ms
        assert f"| {names} | {period:.0f} | {12e3 / period:.1f} | {latency:.0f} |" in PAGE
    phases, memory = plan.phases_ms, {need.device: need.needed / 1e9 for need in plan.devices}
    assert f"| decode {phases['decode']:.0f} |" in PAGE
    assert f"| denoise {phases['denoise']:.0f}, clean pass {phases['clean_pass']:.0f} |" in PAGE
    room = plan.devices[0].room / 1e9
    assert f"| {memory['cuda:0']:.1f} GB of {room:.1f} | {memory['cuda:1']:.1f} GB each | 0 |" in PAGE


def test_the_memory_of_rank_0_in_the_answers():
    answers = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    small = ("stream.height=320", "stream.width=576")
    compiled, eager = (
        planned(*WIDE, "layout=gpu_1p1", *small, *FAST),
        planned(*LARGE, "layout=gpu_1p1", "machine=h200x4"),
    )
    found = [plan.ranks["0"].peak for plan in (compiled, eager)]
    wide, large = (round(peak / MIB) for peak in found if peak)
    sentence = (
        rf"15,772 MiB for 1\.3B at 320×576 [^.]*, {wide:,} planned; 14,233 and\s{large:,} for 14B, not compiled\."
    )
    assert re.search(sentence, answers), (wide, large)
    for options in ("text_encoder.int8=true", "text_encoder.device=cpu"):
        plan = planned(*LARGE, "layout=gpu_1p1", *FAST, options)
        assert re.search(
            rf"^\| `{options}` \| {(plan.ranks['0'].peak or 0) / MIB:.0f}\b.*\| {plan.text_ms:.0f}\b", answers, re.M
        )
