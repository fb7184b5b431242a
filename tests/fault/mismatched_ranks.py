"""Mesh ranks that have something else than rank 0 has, one kind each. Few imports: they must start fast."""

import os

import msgspec
import torch

from pp1_orchestrator.contract import handshake
from pp1_orchestrator.mesh import process as mesh_process


def changed(settings, key, value):
    """The settings with one key, such as `stream.height`, set to something else."""
    name, _, rest = key.partition(".")
    new = changed(getattr(settings, name), rest, value) if rest else value
    return msgspec.structs.replace(settings, **{name: new})


def with_another_seed(rank, settings, config, port, folder):
    mesh_process.main(rank, settings if rank == 1 else changed(settings, "seed", 43), config, port, folder)


def with_another_degree(rank, settings, config, port, folder):
    other = settings if rank == 1 else changed(settings, "layout.mesh_ranks", 1)
    mesh_process.main(rank, other, config, port, folder)


def with_another_height(rank, settings, config, port, folder):
    other = settings if rank == 2 else changed(settings, "stream.height", 128)
    mesh_process.main(rank, other, config, port, folder)


def with_another_dtype(rank, settings, config, port, folder):
    other = settings if rank == 2 else changed(settings, "model.dtype", "bfloat16")
    mesh_process.main(rank, other, config, port, folder)


def with_another_torch(rank, settings, config, port, folder):
    if rank == 2:
        torch.__version__ = "2.0.1"
    mesh_process.main(rank, settings, config, port, folder)


def with_another_contract(rank, settings, config, port, folder):
    if rank == 2:
        handshake.VERSION = 7
    mesh_process.main(rank, settings, config, port, folder)


def with_another_home(rank, settings, config, port, folder):
    """Every rank reads the same path, as on a machine of its own."""
    os.environ["HOME"] = str(folder / f"home{rank}")
    mesh_process.main(rank, settings, config, port, folder)
