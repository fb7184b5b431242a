"""The wire format: a fixed header, typed MessagePack metadata, then raw tensors in the same order. No pickle.

Packing does everything that can fail before the first byte is sent. A receiver checks each part before it allocates
memory for the next one. Knows nothing of processes or sockets.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.contract import envelope as env
from pp1_orchestrator.contract import result as res
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.typed_torch import integers

ENVELOPE, RESULT = 1, 2
"""Kinds of messages, as the header names them."""
MAGIC = 0x50503157495245  # "PP1WIRE"
HEADER_FIELDS = 6
MAX_META_BYTES = 64 * 1024
MAX_TENSORS = 8
MAX_TENSOR_BYTES = 1 << 30
MAX_DIMS = 8

_DTYPES: dict[str, torch.dtype] = {
    "bf16": torch.bfloat16,
    "f16": torch.float16,
    "f32": torch.float32,
    "i64": torch.int64,
    "i32": torch.int32,
    "u8": torch.uint8,
}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_KINDS = {ENVELOPE: ("envelope", env.PPEnvelopeV3), RESULT: ("result", res.PPResultV3)}


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor that follows, as the receiver must allocate it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def torch_dtype(self) -> torch.dtype:
        return _DTYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.torch_dtype.itemsize


class _Meta(msgspec.Struct, frozen=True):
    body: msgspec.Raw
    tensors: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class EncodedMessage:
    """A checked message, ready to send: header int64 [HEADER_FIELDS], meta uint8, contiguous tensors."""

    header: Tensor
    meta: Tensor
    tensors: tuple[Tensor, ...]

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """All tensors of the message, in the order of sending."""
        return (self.header, self.meta, *self.tensors)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part. kind: ENVELOPE or RESULT."""

    kind: int
    version: int
    call_id: int
    meta_bytes: int
    tensor_count: int


def _spec(name: str, tensor: Tensor) -> TensorSpec:
    if tensor.dtype not in _DTYPE_NAMES:
        raise ContractError(f"{name} has type {tensor.dtype}; the wire carries {', '.join(_DTYPES)}")
    if tensor.nbytes > MAX_TENSOR_BYTES:
        raise ContractError(f"{name} has {tensor.nbytes} bytes; at most {MAX_TENSOR_BYTES} can be sent")
    if tensor.dim() > MAX_DIMS:
        raise ContractError(f"{name} has {tensor.dim()} dimensions; at most {MAX_DIMS} can be sent")
    return TensorSpec(name, _DTYPE_NAMES[tensor.dtype], tuple(tensor.shape))


def _pack(kind: int, meta: Any, tensors: Mapping[str, Tensor], device: torch.device | str) -> EncodedMessage:
    if len(tensors) > MAX_TENSORS:
        raise ContractError(f"{len(tensors)} tensors; at most {MAX_TENSORS} can be sent")
    names = sorted(tensors)
    specs = tuple(_spec(name, tensors[name]) for name in names)
    body = msgspec.msgpack.encode(_Meta(msgspec.Raw(msgspec.msgpack.encode(meta)), specs))
    if len(body) > MAX_META_BYTES:
        raise ContractError(f"metadata has {len(body)} bytes; at most {MAX_META_BYTES} can be sent")
    header = [MAGIC, kind, meta.version, meta.call_id, len(body), len(specs)]
    return EncodedMessage(
        torch.tensor(header, dtype=torch.int64, device=device),
        torch.frombuffer(bytearray(body), dtype=torch.uint8).to(device),
        tuple(tensors[name].to(device).contiguous() for name in names),
    )


def pack_envelope(envelope: env.Envelope, device: torch.device | str = "cpu") -> EncodedMessage:
    """Check and encode for sending from `device`. Raises ContractError."""
    env.check(envelope)
    return _pack(ENVELOPE, envelope.meta, envelope.tensors, device)


def pack_result(result: res.Result, device: torch.device | str = "cpu") -> EncodedMessage:
    """Check and encode for sending from `device`. Raises ContractError."""
    res.check_result(result)
    return _pack(RESULT, result.meta, result.tensors, device)


def read_header(header: Tensor) -> Header:
    """int64 [HEADER_FIELDS] to Header. Raises ContractError, before memory is allocated for the metadata."""
    magic, kind, version, call_id, meta_bytes, tensor_count = integers(header)
    if magic != MAGIC or kind not in _KINDS:
        raise ContractError(f"not a message of this contract (magic {magic:#x}, kind {kind})")
    if version != env.VERSION:
        raise ContractError(f"{_KINDS[kind][0]} version {version} is unknown; this side speaks {env.VERSION}")
    if not 0 < meta_bytes <= MAX_META_BYTES or not 0 <= tensor_count <= MAX_TENSORS:
        raise ContractError(f"call {call_id}: header announces {meta_bytes} bytes of metadata, {tensor_count} tensors")
    return Header(kind, version, call_id, meta_bytes, tensor_count)


def read_meta(header: Header, meta: Tensor) -> tuple[Any, tuple[TensorSpec, ...]]:
    """uint8 [header.meta_bytes] to (PPEnvelopeV3 or PPResultV3, the tensors to allocate). Ignores unknown fields.

    Raises ContractError, before memory is allocated for the tensors.
    """
    try:
        parts = msgspec.msgpack.decode(meta.cpu().numpy().tobytes(), type=_Meta)
        body: Any = msgspec.msgpack.decode(parts.body, type=_KINDS[header.kind][1])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ContractError(f"call {header.call_id}: unreadable metadata: {error}") from error
    for spec in parts.tensors:
        if not _may_allocate(spec):
            raise ContractError(f"call {header.call_id}: {spec.name} announced as {spec.dtype} {list(spec.shape)}")
    if len(parts.tensors) != header.tensor_count:
        raise ContractError(
            f"call {header.call_id}: {len(parts.tensors)} tensors described, {header.tensor_count} announced"
        )
    if (body.version, body.call_id) != (header.version, header.call_id):
        raise ContractError(
            f"call {header.call_id}: version and call are {header.version}, {header.call_id} in the header, "
            f"{body.version}, {body.call_id} in the metadata"
        )
    return body, parts.tensors


def _may_allocate(spec: TensorSpec) -> bool:
    """Every single size is bounded, too: the product of all sizes is 0 if one of them is."""
    sizes_fit = len(spec.shape) <= MAX_DIMS and all(0 <= size <= MAX_TENSOR_BYTES for size in spec.shape)
    return spec.dtype in _DTYPES and sizes_fit and spec.nbytes <= MAX_TENSOR_BYTES


def build(meta: Any, specs: tuple[TensorSpec, ...], tensors: list[Tensor]) -> env.Envelope | res.Result:
    """The message that was received in parts. Raises ContractError if it breaks a rule."""
    named = {spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)}
    if len(named) != len(specs):
        raise ContractError(f"call {meta.call_id}: a tensor is described twice")
    if isinstance(meta, env.PPEnvelopeV3):
        env.check(envelope := env.Envelope(meta, named))
        return envelope
    res.check_result(result := res.Result(meta, named))
    return result
