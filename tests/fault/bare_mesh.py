"""A real mesh without a rank 0 of this program: the test itself is what it talks to."""

import contextlib
from pathlib import Path

import msgspec
import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV3, wire
from pp1_orchestrator.layouts.spawn import RankMain, SpawnedLayout
from pp1_orchestrator.mesh import process as mesh_process
from tests.config.test_conf import settings
from tests.fault.faulty_stream import MESH
from tests.models.config_file import read_config
from tests.transport.factories import first_chunk

SETTINGS = settings("run=bench", *MESH, "layout.mesh_ranks=2")
CONFIG = read_config(SETTINGS.model.folder / "generator")
END_S = 240
CALL_ID, META_BYTES, TENSOR_COUNT = 3, 4, 5
"""Places in a header."""


def first_envelope(without: str = "", call_id: int = 1, **changes) -> wire.EncodedMessage:
    """The first envelope of a stream, with other words in its plan, or a tensor less, than a sender would let pass."""
    parcel = wire.pack_envelope(first_chunk((1, 3, 16, 8, 8), torch.zeros(1, CONFIG.text_len, CONFIG.text_dim)))
    parts = msgspec.msgpack.decode(parcel.meta.numpy().tobytes())
    parts["body"]["plan"] |= changes
    parts["body"]["call_id"] = call_id
    kept = [index for index, spec in enumerate(parts["tensors"]) if spec["name"] != without]
    parts["tensors"] = [parts["tensors"][index] for index in kept]
    meta = torch.frombuffer(bytearray(msgspec.msgpack.encode(parts)), dtype=torch.uint8)
    header = parcel.header.clone()
    header[CALL_ID], header[META_BYTES], header[TENSOR_COUNT] = call_id, len(meta), len(kept)
    return wire.EncodedMessage(header, meta, tuple(parcel.tensors[index] for index in kept))


def message(action: Action, call_id: int) -> wire.EncodedMessage:
    return wire.pack_envelope(Envelope(PPEnvelopeV3(action=action, call_id=call_id, cache_epoch=0)))


@contextlib.contextmanager
def mesh(chosen: Settings = SETTINGS, main: RankMain = mesh_process.main, folder: Path | None = None):
    """Its ranks have been met: the mesh, and the link to it. main: each rank's life."""
    made = SpawnedLayout(chosen, CONFIG, main).start(folder, generation=0)
    try:
        yield made, made.connect()
    finally:
        made.stop(None, 0)


def exit_codes(made) -> set[int | None]:
    for process in made.processes.values():
        process.join(END_S)
    return {process.exitcode for process in made.processes.values()}
