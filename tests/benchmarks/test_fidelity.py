"""The benchmark of fidelity in its small form: every variant can be run, and tables have what they say."""

import pytest

from benchmarks.fidelity import golden, streams
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
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split(" | ")[0] for row in rows] == ["| soft", "| cut=recache"]
