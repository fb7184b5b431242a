"""A rank that was started with something else than the others is refused by name, in time, and no rank is left."""

import shutil

import pytest
import torch

from pp1_orchestrator.errors import Pp1Error
from pp1_orchestrator.layouts.spawn import SpawnedLayout
from pp1_orchestrator.models.checkpoints.manifest import DigestCache, fingerprint
from tests.fault.mismatched_ranks import (
    with_another_contract,
    with_another_degree,
    with_another_dtype,
    with_another_height,
    with_another_home,
    with_another_seed,
    with_another_torch,
)
from tests.system.in_process import make_settings
from tests.timing import stopwatch

CHOICES = ("layout=cpu", "layout.mesh_ranks=2", "model.dtype=float32", "seed=42", "stream.height=64", "stream.width=64")
REFUSED_S = 10
"""On an idle machine, the start of the ranks included."""
TORCH = torch.__version__


def refusal(main, folder, *choices) -> str:
    """What rank 0 says, when it says so in time and every other rank has failed, too."""
    settings, config = make_settings(*CHOICES, *choices)
    mesh = SpawnedLayout(settings, config, main).start(folder, 0)
    try:
        with stopwatch() as watch, pytest.raises(Pp1Error) as refused:
            mesh.connect()
    finally:
        mesh.stop(None, 0.0)
    assert watch.within(REFUSED_S)
    assert all(process.exitcode not in (None, 0) for process in mesh.processes.values())
    return str(refused.value)


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (with_another_seed, "rank 2: ranks disagree on seed: 43 on rank 2, 42 on rank 0"),
        (with_another_degree, "rank 2: ranks disagree on layout.mesh_ranks: 1 on rank 2, 2 on rank 0"),
        (with_another_height, "rank 1: ranks disagree on stream.height: 128 on rank 1, 64 on rank 0"),
        (with_another_dtype, "rank 1: ranks disagree on model.dtype: 'bfloat16' on rank 1, 'float32' on rank 0"),
        (with_another_torch, f"rank 2: ranks disagree on torch: '2.0.1' on rank 2, '{TORCH}' on rank 0"),
        (with_another_contract, "rank 2: ranks disagree on contract version: 7 on rank 2, 3 on rank 0"),
    ],
)
def test_the_first_key_that_differs_is_told_with_both_values(tmp_path, main, line):
    assert refusal(main, tmp_path) == line


def test_other_weights_at_the_same_place_are_told(tmp_path, monkeypatch):
    settings, _ = make_settings(*CHOICES)
    for rank in range(3):
        shutil.copytree(settings.model.folder / "generator", tmp_path / f"home{rank}" / "generator")
    other = tmp_path / "home2" / "generator" / "model.safetensors"
    data = bytearray(other.read_bytes())
    data[len(data) // 2] ^= 1  # no header and no size tells it
    other.write_bytes(bytes(data))
    monkeypatch.setenv("HOME", str(tmp_path / "home0"))
    memory = DigestCache(tmp_path / "digests.json")
    ours, theirs = (fingerprint(tmp_path / f"home{rank}" / "generator", memory) for rank in (0, 2))
    line = refusal(with_another_home, tmp_path, "model.generator='~/generator'")
    assert line == f"rank 2: ranks disagree on checkpoint: '{theirs}' on rank 2, '{ours}' on rank 0"
