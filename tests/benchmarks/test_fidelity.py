"""The benchmark of fidelity in its small form: every variant can be run, and tables have what they say."""

import pytest

from benchmarks.fidelity import golden, streams, switches
from benchmarks.fidelity.__main__ import main
from tests.system.in_process import make_settings


@pytest.mark.parametrize("options", streams.VARIANTS.values(), ids=streams.VARIANTS)
def test_every_variant_is_a_configuration(options):
    make_settings(*options)


@pytest.mark.slow
def test_the_first_chunks_are_judged():
    variants = {name: streams.VARIANTS[name] for name in ("cache=ring, no sink", "cache=ema_sink, sink 3")}
    lines = list(streams.table(streams.Asked(1, (1,)), variants))
    assert lines[0].startswith("| variant | chunk | background | color | motion | shape |")
    assert [line.split(" | ")[0] for line in lines[1:]] == [f"| {name}" for name in variants]


@pytest.mark.slow
def test_every_golden_case_is_held():
    lines = list(golden.table())
    assert len(lines) > 15
    assert all(line.endswith("| held |") for line in lines[1:])


@pytest.mark.slow
def test_a_switch_is_judged_with_and_without_a_recache(capsys):
    main(["recache", "--count", "1"])
    rows = [row.split(" | ") for row in capsys.readouterr().out.splitlines()[-8:]]
    assert [row[0] for row in rows] == ["| soft"] * 4 + ["| cut=recache"] * 4
    assert [row[1] for row in rows] == list(switches.ATTRIBUTES) * 2
    assert all(" of 1 (" in row[2] for row in rows)


@pytest.mark.parametrize(
    ("right", "judged", "low", "high"),
    [(59, 60, 0.911, 0.997), (100, 100, 0.963, 1), (0, 90, 0, 0.041), (1, 2, 0.095, 0.905)],
)
def test_the_interval_of_a_share_is_wilson_s(right, judged, low, high):
    """Published values of the score interval."""
    assert switches.interval(right, judged) == pytest.approx((low, high), abs=1e-3)


def test_only_switches_that_change_something_are_counted():
    right = [True, False, True, True]
    assert switches.counted(right) == switches.Count(3, 4)
    assert switches.counted(right, [False, True, True, False]) == switches.Count(1, 2)
    assert str(switches.counted(right, [False] * 4)) == "–"
