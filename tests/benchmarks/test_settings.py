"""Settings that are read without Hydra are those that Hydra composes."""

import pytest

from benchmarks.settings import settings_of
from tests.system.in_process import make_settings

CHOICES = [
    ("layout=cpu", "stream.height=64", "stream.width=64"),
    ("layout=inline", "overlap=sync", "routing=hybrid_cache", "seed=7"),
    ("model=wan2_1_1_3b", "model.weights=random", "stage0=taehv"),
    ("model=krea_14b", "model.weights=random", "stream.fps=24"),
]


@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: choices[0])
def test_they_are_the_same(choices):
    hydra, _ = make_settings(*choices, "run.warmup_chunks=10", "run.chunks=12")
    assert settings_of(choices, {"run.chunks": 12}) == hydra


def test_a_key_that_is_none_is_named():
    with pytest.raises(ValueError, match=r"stream\.heigth: no such key"):
        settings_of(["stream.heigth=64"], {})
