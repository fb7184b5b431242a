"""The wire format: what goes in comes out, and whatever is broken is refused as early as it can be known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.contract import Envelope, wire
from pp1_orchestrator.contract.envelope import CONDITIONING, PPEnvelopeV3
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.transport.link import receive_message
from tests.contract.factories import envelope_for_plan, envelopes, plan_for, result_for_call, results


class Pipe:
    """Parts in a list; receiving fills the given tensor with the next one."""

    def __init__(self) -> None:
        self.parts: list[torch.Tensor] = []

    def receive(self, tensor) -> None:
        tensor.copy_(self.parts.pop(0))


def travel(message: wire.EncodedMessage):
    pipe = Pipe()
    pipe.parts.extend(message.parts)
    received = receive_message(pipe.receive, "cpu")
    assert not pipe.parts
    assert received.nbytes == message.nbytes
    return received.message


def same(one, other) -> bool:
    equal = one.tensors.keys() == other.tensors.keys()
    return equal and all(
        t.dtype == other.tensors[k].dtype and torch.equal(t, other.tensors[k]) for k, t in one.tensors.items()
    )


@given(envelopes())
def test_an_envelope_survives_the_wire(envelope):
    back = travel(wire.pack_envelope(envelope))
    assert back.meta == envelope.meta
    assert same(back, envelope)


@given(results())
def test_a_result_survives_the_wire(result):
    back = travel(wire.pack_result(result))
    assert back.meta == result.meta
    assert same(back, result)


@given(envelopes(), st.data())
def test_a_damaged_message_is_refused_or_read_but_never_breaks_the_reader(envelope, data):
    """One flipped byte in header or metadata: a ContractError, or a message that keeps all rules."""
    message = wire.pack_envelope(envelope)
    part = data.draw(st.sampled_from([message.header.view(torch.uint8), message.meta]))
    part[data.draw(st.integers(0, len(part) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        header = wire.read_header(message.header)
        meta, specs = wire.read_meta(header, message.meta)
    except ContractError:
        return
    if [(spec.torch_dtype, spec.shape) for spec in specs] == [(t.dtype, tuple(t.shape)) for t in message.tensors]:
        try:
            wire.build(meta, specs, list(message.tensors))
        except ContractError:
            return


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=6, max_size=6))
def test_any_six_integers_are_a_header_or_an_error(values):
    try:
        header = wire.read_header(torch.tensor(values, dtype=torch.int64))
    except ContractError:
        return
    assert 0 < header.meta_bytes <= wire.MAX_META_BYTES
    assert 0 <= header.tensor_count <= wire.MAX_TENSORS


@pytest.mark.parametrize("dtype", [torch.bool, torch.float64, torch.complex64])
def test_a_type_that_does_not_travel_is_refused_before_the_first_byte(dtype):
    envelope = envelope_for_plan(tensors={CONDITIONING: torch.zeros(1, 3, 4).to(dtype)})
    with pytest.raises(ContractError, match=CONDITIONING):
        wire.pack_envelope(envelope)


@pytest.mark.parametrize("version", [1, 2, 99])
def test_an_unknown_version_is_refused_by_the_header_alone(version):
    message = wire.pack_envelope(envelope_for_plan())
    message.header[2] = version
    with pytest.raises(ContractError, match=f"^envelope version {version} is unknown; this side speaks 3$"):
        wire.read_header(message.header)


class Newer(PPEnvelopeV3, frozen=True, kw_only=True):
    """An envelope from a program that knows one more field."""

    mood: str = "cheerful"


def test_an_unknown_field_is_ignored():
    envelope = envelope_for_plan()
    newer = Newer(**{name: getattr(envelope.meta, name) for name in PPEnvelopeV3.__struct_fields__})
    message = wire.pack_envelope(Envelope(newer, envelope.tensors))
    assert b"cheerful" in message.meta.numpy().tobytes()
    assert travel(message).meta == envelope.meta


def test_header_and_metadata_must_tell_the_same_call():
    message, other = wire.pack_envelope(envelope_for_plan(call_id=1)), wire.pack_envelope(envelope_for_plan(call_id=2))
    with pytest.raises(ContractError, match="in the header"):
        wire.read_meta(wire.read_header(other.header), message.meta)


def test_metadata_has_a_bound():
    result = result_for_call(ok=False, error_message="x" * (wire.MAX_META_BYTES + 1))
    with pytest.raises(ContractError, match="at most"):
        wire.pack_result(result)


def test_steady_envelopes_are_a_small_part_of_one_with_an_embedding():
    """At the real models' sizes too: 512 tokens of width 4096 in bfloat16."""
    steady = plan_for(reset_crossattn_cache=False, init_cache=False, reset_kv_cache=False, current_start_frame=3)
    without = wire.pack_envelope(envelope_for_plan(steady, {})).nbytes
    for shape, dtype in (((1, 48, 96), torch.float32), ((1, 512, 4096), torch.bfloat16)):
        with_embeds = wire.pack_envelope(
            envelope_for_plan(tensors={CONDITIONING: torch.zeros(shape, dtype=dtype)})
        ).nbytes
        assert without <= 0.15 * with_embeds
