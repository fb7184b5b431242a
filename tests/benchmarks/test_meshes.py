"""The benchmarks of meshes and long streams in their small forms, on a CPU."""

import re

import pytest

from benchmarks import long_stream, lost_rank, tp_measured

pytestmark = pytest.mark.slow


def rows(text: str) -> list[list[str]]:
    return [line.strip("|").split(" | ") for line in text.splitlines() if re.match(r"\| *\w", line)][1:]


def test_two_ranks_make_what_one_makes(capfd):
    mesh = ["--only", "small", "--degrees", "2", "--ways", "eager", "--dtypes", "float32", "--device", "cpu"]
    tp_measured.main([*mesh, "--chunks", "2", "--repeats", "1"])
    one, two = rows(capfd.readouterr().out)
    assert (one[3], two[3]) == ("1", "2")
    assert all(float(off) < 1e-4 for off in two[6:8])
    assert two[8].strip() == "yes"


def test_a_killed_rank_is_seen_and_the_stream_goes_on(capfd):
    lost_rank.main(["--set", "layout=cpu", "stream.height=64", "stream.width=64", "--chunks", "9", "--rank", "2"])
    told = re.search(
        r"detected after (\S+) s, new mesh up after (\S+) s, frames again after (\S+) s", capfd.readouterr().out
    )
    assert told is not None
    seen, up, again = map(float, told.groups())
    assert 0 < seen < up <= again


def test_a_long_stream_has_a_row_for_each_tenth(capfd):
    long_stream.main(["--set", "stream.height=64", "stream.width=64", "--chunks", "20"])
    found = rows(capfd.readouterr().out)
    assert [int(row[0]) for row in found] == list(range(6, 61, 6))
    assert all(row[2] == "yes" for row in found)
