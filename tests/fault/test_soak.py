"""A short soak: the program does not grow, and each leak of our making is caught."""

import pytest

from benchmarks.soak.growth import Sample, grown
from benchmarks.soak.leaking import LEAKS
from benchmarks.soak.run import soak

ANY_MB, MUCH_MB = 1000.0, 20.0
"""A few chunks say nothing about small growth: allocators are still finding their sizes."""


def made(**growth: float) -> list[Sample]:
    """A hundred chunks, in each of which so much is added."""
    flat = {"rss_mb": 300.0, "fds": 40, "threads": 17, "children": 3}
    return [
        Sample(**({"chunk": n} | {name: value + n * growth.get(name, 0) for name, value in flat.items()}))
        for n in range(100)
    ]


@pytest.mark.parametrize(
    ("growth", "words"),
    [
        ({}, []),
        ({"rss_mb": 0.0019}, []),
        ({"rss_mb": 0.01}, ["memory grows by 10.0 MB for each 1000 chunks; 2 are allowed"]),
        ({"fds": 1}, ["fds went from 40 to 137"]),
        ({"threads": 1, "children": 1}, ["threads went from 17 to 114", "children went from 3 to 100"]),
    ],
)
def test_what_grows_is_named_with_its_figures(growth, words):
    assert grown(made(**growth)) == words


@pytest.mark.slow
def test_the_program_does_not_grow(tmp_path):
    ranks = soak(tmp_path / "out", 20, 60)
    assert ranks.keys() == {"0", "1", "2"}
    assert [words for samples in ranks.values() for words in grown(samples, rss_limit_mb=ANY_MB)] == []


@pytest.mark.slow
def test_every_leak_is_caught(tmp_path):
    """All of them at once, each known by its own words."""
    found = grown(soak(tmp_path / "out", 5, 40, ",".join(LEAKS), "layout.mesh_ranks=1")["0"], rss_limit_mb=MUCH_MB)
    assert sorted(words.split()[0] for words in found) == ["children", "fds", "memory", "threads"], found
