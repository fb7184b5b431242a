"""Messages of the wire format: as they are, and once more with a header that fits what follows it.

The only error is ContractError. What is accepted is written again, and read as the same.
"""

import torch

from pp1_orchestrator.contract import wire
from pp1_orchestrator.contract.envelope import VERSION, Envelope
from pp1_orchestrator.contract.result import Result, accept
from pp1_orchestrator.errors import ChunkError, ContractError, MeshError
from pp1_orchestrator.transport.link import receive_message
from tests.contract.golden.make import FOLDER, File
from tests.fuzz.oracle import Finding, check_line

HEADER_BYTES = 8 * wire.HEADER_FIELDS
KIND, CALL, META_BYTES, TENSORS = (slice(8 * at, 8 * at + 8) for at in (1, 3, 4, 5))
MOST_BYTES = 1 << 20
"""Tensors that a message announces beyond this are not made: 1 GiB is allowed."""
ASKED = receive_message(File((FOLDER / "v3-steady.bin").read_bytes()).receive, "cpu").message


def seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(FOLDER.glob("*.bin"))]


def fuzz_one(data: bytes) -> None:
    data = data.ljust(HEADER_BYTES, b"\0")
    for message in (data, _with_fitting_header(data)):
        try:
            _receive(message)
        except ContractError as error:
            check_line(error)


def _with_fitting_header(data: bytes) -> bytes:
    """The same metadata, taken for all that follows, or for as much as the header says where that is possible."""
    header, rest = bytearray(data[:HEADER_BYTES]), data[HEADER_BYTES : HEADER_BYTES + wire.MAX_META_BYTES]
    announced = int.from_bytes(header[META_BYTES], "little", signed=True)
    size = announced if 0 < announced <= len(rest) else len(rest)
    header[:8] = wire.MAGIC.to_bytes(8, "little")
    header[KIND] = (1 + header[8] % 2).to_bytes(8, "little")
    header[16:24] = VERSION.to_bytes(8, "little")
    header[META_BYTES] = size.to_bytes(8, "little")
    header[TENSORS] = (header[TENSORS.start] % (wire.MAX_TENSORS + 1)).to_bytes(8, "little")
    return bytes(header) + data[HEADER_BYTES:]


def _receive(data: bytes) -> None:
    header = wire.read_header(torch.frombuffer(bytearray(data[:HEADER_BYTES]), dtype=torch.int64))
    end = HEADER_BYTES + header.meta_bytes
    if len(data) < end:
        return  # the receiver waits
    meta, specs = wire.read_meta(header, torch.frombuffer(bytearray(data[HEADER_BYTES:end]), dtype=torch.uint8))
    if sum(spec.nbytes for spec in specs) > MOST_BYTES:
        return
    tensors = [torch.zeros(spec.shape, dtype=spec.torch_dtype) for spec in specs]
    message = wire.build(meta, specs, tensors)
    if isinstance(message, Result):
        _accept(message)
    again = wire.pack_envelope(message) if isinstance(message, Envelope) else wire.pack_result(message)
    read, specs_again = wire.read_meta(wire.read_header(again.header), again.meta)
    if repr(read) != repr(meta) or set(specs_again) != set(specs):
        raise Finding(f"{meta} is read as {read} after it was written")


def _accept(result: Result) -> None:
    try:
        accept(result, ASKED, ASKED.meta.cache_epoch)
    except (ContractError, MeshError, ChunkError) as error:
        if str(error).strip() or not result.meta.error_message:
            check_line(error)
