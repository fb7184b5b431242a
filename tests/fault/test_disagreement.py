"""A rank that was started with other settings, or another torch, is refused by name, and no rank is left."""

import msgspec
import pytest
import torch

from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.runtime import mesh_process
from pp1_orchestrator.runtime.layouts.spawned import SpawnedLayout
from tests.system.in_process import make_settings

SETTINGS = ("layout=cpu", "layout.mesh_ranks=2", "model.dtype=float32", "seed=42")


def with_another_seed(rank, settings, *others):
    changed = settings if rank == 1 else msgspec.structs.replace(settings, seed=43)
    mesh_process.main(rank, changed, *others)


def with_another_dtype(rank, settings, *others):
    model = settings.model if rank == 2 else msgspec.structs.replace(settings.model, dtype="bfloat16")
    mesh_process.main(rank, msgspec.structs.replace(settings, model=model), *others)


def with_another_torch(rank, *others):
    if rank == 2:
        torch.__version__ = "1.0"
    mesh_process.main(rank, *others)


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (with_another_seed, "rank 2: ranks disagree on seed: 43 on rank 2, 42 on rank 0"),
        (
            with_another_dtype,
            "rank 1: ranks disagree on model.dtype: 'bfloat16' on rank 1, 'float32' on rank 0",
        ),
        (with_another_torch, f"rank 2: ranks disagree on torch: '1.0' on rank 2, '{torch.__version__}' on rank 0"),
    ],
)
def test_the_first_key_that_differs_is_told_with_both_values(main, line):
    settings, config = make_settings(*SETTINGS)
    mesh = SpawnedLayout(settings, config, main).start(None, 0)
    try:
        with pytest.raises(MeshError) as refused:
            mesh.connect(1, "a test")
    finally:
        mesh.stop(None, 0.0)
    assert str(refused.value) == line
    assert all(process.exitcode not in (None, 0) for process in mesh.processes.values())
