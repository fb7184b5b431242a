"""The benchmarks of a generator and its decoders, which are for a GPU, in their small forms on a CPU."""

import pytest
import torch

from benchmarks import (
    beside_flashdreams,
    cache_policies,
    kernels,
    real_sizes,
    row_kernels,
    stream_encoders,
    tp_forecast,
)
from pp1_orchestrator.models.wan.cache_policies import CACHES

pytestmark = pytest.mark.slow

CPU = ["--device", "cpu"]


def table(text: str) -> list[list[str]]:
    """The rows of all tables, without their heads."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    heads = {index for index, row in enumerate(lines[1:]) if {*row} == {"---"}}
    return [row for index, row in enumerate(lines) if not {index, index - 1} & heads]


def test_generator_and_decoders_have_a_row_each(capsys):
    cases = ["small", "decode-32x32", "taehv-64x64", "pixels-32x32"]
    real_sizes.main([*CPU, "--plain", "--repeats", "1", "--only", *cases])
    rows = {row[0]: row for row in table(capsys.readouterr().out)}
    decodes = ["decode-32x32 diffusers", "decode-32x32 stacked", "taehv-64x64"]
    pixels = [f"pixels-32x32, {form} to {where}" for form in ("RGB", "yuv420p") for where in ("host", "encoder frames")]
    assert sorted(rows) == sorted(["small eager", *decodes, "decode-32x32, one frame encoded", *pixels])
    assert all(float(row[1].split()[0]) > 0 for row in rows.values())
    assert rows["small eager"][-1] == "0.0e+00"
    assert all(float(rows[kind][-1].split()[1]) > 30 for kind in decodes)


def test_stream_encoders_have_a_row_each(capsys):
    cases = ["shipped-64x64", "lightvae-32x32", "lighttae-64x64"]
    threads = torch.get_num_threads()
    stream_encoders.main([*CPU, "--repeats", "1", "--only", *cases])
    torch.set_num_threads(threads)
    rows = table(capsys.readouterr().out)
    assert [row[0] for row in rows] == [f"{case} eager" for case in cases]
    assert all(float(row[2]) > 0 for row in rows)
    assert rows[0][5] == "0.0e+00"
    assert all(float(row[6]) > 20 for row in rows[1:])


def test_an_unknown_size_is_named(capsys):
    with pytest.raises(SystemExit):
        real_sizes.main(["--only", "2B-320x576"])
    assert "'2B-320x576' is none of 1.3B-320x576" in capsys.readouterr().err


def test_row_operators_are_near_the_same_maths_written_out(capsys):
    row_kernels.main([*CPU, "--only", "small"])
    rows = table(capsys.readouterr().out)
    assert len({row[1] for row in rows}) == len(rows) > 5
    assert all(float(row[2]) < (0.03 if "quantize" in row[1] else 0.003) for row in rows)


def test_a_generators_time_is_told_by_kind_and_by_kernel(capsys):
    kernels.main([*CPU, "--case", "small", "--way", "eager", "--chunks", "1", "--top", "5"])
    rows = table(capsys.readouterr().out)
    kinds = {row[0]: float(row[1]) for row in rows[:-5]}
    assert {"products", "attention", "the rest"} <= {*kinds}
    assert all(ms > 0 for ms in kinds.values())


def test_a_side_is_timed_in_turns_and_compared_with_the_first(capsys):
    small = ["--case", "small", "--sides", "ours, eager", "--rounds", "2", "--repeats", "2"]
    beside_flashdreams.main([*CPU, *small])
    [(name, _, fps, ratio)] = table(capsys.readouterr().out)
    assert (name, ratio) == ("ours, eager", "1.000")
    assert float(fps) > 0


def test_the_forecast_has_a_row_for_each_number_of_ranks(capsys):
    tp_forecast.main([*CPU, "--only", "small", "--degrees", "1", "2", "--repeats", "1", "--way", "eager"])
    assert [row[1] for row in table(capsys.readouterr().out)] == ["1", "2"]


def test_each_cache_policy_has_a_time_and_the_same_latents_in_both_ways(capsys):
    cache_policies.main([*CPU, "--case", "small", "--chunks", "1"])
    rows = table(capsys.readouterr().out)
    assert [row[0] for row in rows] == [*CACHES]
    assert all(float(row[1]) > 0 for row in rows)
    assert all(float(row[2]) < 1e-5 for row in rows)
