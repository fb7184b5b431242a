"""Messages that claim too much: refused by what they claim, before anything is allocated for it."""

import msgspec
import pytest
import torch

from pp1_orchestrator.contract import wire
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.transport.link import receive_message
from tests.contract.factories import envelope_for_plan

PARCEL = wire.pack_envelope(envelope_for_plan())


class Hostile:
    """A peer that sends a header and metadata, and counts what it is asked for beyond them."""

    def __init__(self, header: torch.Tensor, meta: torch.Tensor) -> None:
        self._parts = [header, meta]
        self.asked: list[int] = []

    def receive(self, tensor: torch.Tensor) -> None:
        self.asked.append(tensor.nbytes)
        tensor.copy_(self._parts.pop(0))


def with_tensor(dtype: str, shape: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A message whose metadata describes one tensor like this."""
    parts = msgspec.msgpack.decode(PARCEL.meta.numpy().tobytes())
    parts["tensors"] = [{"name": "prompt_embeds", "dtype": dtype, "shape": shape}]
    meta = torch.frombuffer(bytearray(msgspec.msgpack.encode(parts)), dtype=torch.uint8)
    header = PARCEL.header.clone()
    header[4], header[5] = len(meta), 1
    return header, meta


def refused(header: torch.Tensor, meta: torch.Tensor) -> tuple[str, list[int]]:
    peer = Hostile(header, meta)
    with pytest.raises(ContractError) as error:
        receive_message(peer.receive, "cpu")
    assert len(str(error.value).splitlines()) == 1
    return str(error.value), peer.asked


@pytest.mark.parametrize(
    ("field", "value"),
    [(4, 2**62), (4, wire.MAX_META_BYTES + 1), (4, 0), (4, -1), (5, 2**62), (5, wire.MAX_TENSORS + 1), (5, -1)],
)
def test_a_header_that_claims_too_much_is_all_that_is_read(field, value):
    header = PARCEL.header.clone()
    header[field] = value
    says, asked = refused(header, PARCEL.meta)
    assert str(value) in says
    assert asked == [PARCEL.header.nbytes]


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("u8", [2**62]),
        ("f32", [2**62, 2**62]),
        ("u8", [0, 2**63]),
        ("u8", [2**64 - 1, 0]),
        ("u8", [wire.MAX_TENSOR_BYTES + 1]),
        ("f32", [wire.MAX_TENSOR_BYTES // 4 + 1]),
        ("f32", [-1]),
        ("f32", [-(2**31), -(2**31)]),
        ("f32", [1] * 30_000),
        ("f64", [1]),
        ("object", [1]),
        ("", [1]),
        ("__class__", [1]),
    ],
)
def test_a_tensor_that_claims_too_much_is_never_allocated(dtype, shape):
    header, meta = with_tensor(dtype, shape)
    _, asked = refused(header, meta)
    assert asked == [header.nbytes, meta.nbytes]


def test_the_message_that_is_altered_here_is_a_good_one():
    header, meta = with_tensor("f32", [1, 3, 4])
    assert wire.read_meta(wire.read_header(header), meta)[1] == (wire.TensorSpec("prompt_embeds", "f32", (1, 3, 4)),)
