"""Counts a computation's operations, their FLOPs and the bytes they move, without computing anything.

Modules run on the meta device, where a tensor has a shape and no data. FLOPs are torch's own count
(`torch.utils.flop_counter`); bytes are those of an operation's operands and results. Knows nothing of time.
"""

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from pp1_orchestrator.planning.fusion import FusedPasses
from pp1_orchestrator.planning.memory_tracker import MemoryTracker, storage_key

Kind = Literal["matmul", "attention", "conv", "other"]
OWN, FUSED = "pp1.", "fused pass"
"""How names of this package's operators begin; the name of what a compiler makes."""
KINDS: tuple[Kind, ...] = ("matmul", "attention", "conv", "other")


@dataclass(frozen=True, slots=True)
class TensorShape:
    """A tensor without its data."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class RecordedCall:
    """A call that can be made again. The arguments are flattened, with a TensorShape in place of each tensor.

    No dataclass: what writes counts into a file would look inside.
    """

    __slots__ = ("arguments", "operator", "structure")

    def __init__(self, operator: Callable[..., Any], arguments: list[Any], structure: TreeSpec) -> None:
        self.operator, self.arguments, self.structure = operator, arguments, structure


@dataclass(slots=True)
class Operation:
    """`count` equal calls of an operator.

    size: rows, columns and depth of a product or a convolution; width of a head, heads, queries and keys of attention;
    the bytes of anything else. dtype: of the first operand. call: None for operations that were only counted.
    """

    name: str
    kind: Kind
    flops: int
    nbytes: int
    size: tuple[int, ...]
    dtype: str
    count: int = 0
    call: RecordedCall | None = None

    @property
    def amount(self) -> int:
        """The work that its rate refers to: FLOPs of a product, bytes of anything else."""
        return self.flops or self.nbytes


@dataclass(slots=True)
class OpCounts:
    """What was counted. `calls` includes views. Reductions are all-reduces over the mesh, exchanges all-to-alls."""

    operations: list[Operation] = field(default_factory=list[Operation])
    calls: int = 0
    reductions: int = 0
    reduction_bytes: int = 0
    exchanges: int = 0
    exchange_bytes: int = 0

    @property
    def flops(self) -> int:
        return sum(op.flops * op.count for op in self.operations)

    def flops_of(self, kind: Kind) -> int:
        return sum(op.flops * op.count for op in self.operations if op.kind == kind)

    @property
    def other_bytes(self) -> int:
        """Bytes moved by operations that are not products: additions, norms, copies."""
        return sum(op.nbytes * op.count for op in self.operations if op.kind == "other")

    def continued(self, other: "OpCounts", steps: int) -> "OpCounts":
        """The counts `steps` times as far away as `other`, which has the same operations, in the same direction."""

        def further(start: int, end: int) -> int:
            return start + steps * (end - start)

        if len(self.operations) != len(other.operations):
            raise ValueError("these are not the same operations in other numbers")
        pairs = zip(self.operations, other.operations, strict=True)
        return OpCounts(
            [replace(op, count=further(op.count, more.count)) for op, more in pairs],
            further(self.calls, other.calls),
            further(self.reductions, other.reductions),
            further(self.reduction_bytes, other.reduction_bytes),
            further(self.exchanges, other.exchanges),
            further(self.exchange_bytes, other.exchange_bytes),
        )

    def fuse(self, passes: Iterable[int]) -> None:
        """Put a compiler's passes over memory, of so many bytes, in place of what they do; own kernels stay."""
        kept = [op for op in self.operations if op.kind != "other" or op.name.startswith(OWN)]
        sizes = Counter(nbytes for nbytes in passes if nbytes)
        fused = [Operation(FUSED, "other", 0, nbytes, (nbytes,), "", count) for nbytes, count in sizes.items()]
        self.operations[:] = kept + fused


def _kind(name: str, flops: int) -> Kind:
    if not flops:
        return "other"
    if "conv" in name:
        return "conv"
    return "attention" if "attention" in name else "matmul"


def _size(kind: Kind, flops: int, nbytes: int, operands: list[Tensor], results: list[Tensor]) -> tuple[int, ...]:
    """`Operation.size`. A product's depth follows from its FLOPs, its rows from the operand that is as deep."""
    if kind == "other":
        return (nbytes,)
    if kind == "attention":
        (heads, queries, width), keys = operands[0].shape[-3:], operands[1].shape[-2]
        return width, math.prod(operands[0].shape[:-3]) * heads, queries, keys
    made = (results or operands[-1:])[0]  # some write to their last operand
    depth = flops // (2 * made.numel())
    if kind == "conv":
        return made.numel() // made.shape[1], made.shape[1], depth
    rows = next((t.numel() // depth for t in operands if t.dim() > 1 and t.shape[-1] == depth), made.numel())
    return rows, made.numel() // rows, depth


def _with_memory_format(func: Any, args: Any, out: Any) -> Any:
    """conv2d of channels-last data returns channels-last data; on the meta device torch does not."""
    formats = [suggest_memory_format(t) for t in args[:2]] if func is torch.ops.aten.conv2d.default else []
    return out.contiguous(memory_format=torch.channels_last) if torch.channels_last in formats else out


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


class _Recorder(TorchDispatchMode):
    """Gets every operation before the FLOP counter below it does."""

    def __init__(self, flops: FlopCounterMode) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.counts = OpCounts()
        self._flops = flops
        self._known: dict[Any, Operation] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = self._flops.get_total_flops()
        out = _with_memory_format(func, args, func(*args, **kwargs))
        self.counts.calls += 1
        operands, results = _tensors((args, kwargs)), _tensors(out)
        if operands and not self._is_view(func, operands, results):
            self._add(func, (args, kwargs), self._flops.get_total_flops() - before, operands, results)
        return out

    def _is_view(self, func: Any, operands: list[Tensor], results: list[Tensor]) -> bool:
        if func._schema.is_mutable:
            return False
        owned = {storage_key(t.untyped_storage()) for t in operands}
        return all(storage_key(t.untyped_storage()) in owned for t in results)

    def _add(self, func: Any, call: tuple[Any, Any], flops: int, operands: list[Tensor], results: list[Tensor]) -> None:
        leaves, structure = tree_flatten(call)
        shapes = [
            TensorShape(tuple(leaf.shape), leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else leaf
            for leaf in leaves
        ]
        name = str(func)
        key = (name, tuple(repr(shape) for shape in shapes), str(structure))
        if key not in self._known:
            kind, nbytes = _kind(name, flops), sum(t.nbytes for t in (*operands, *results))
            size = _size(kind, flops, nbytes, operands, results)
            dtype = str(operands[0].dtype).removeprefix("torch.")
            recorded = RecordedCall(func, shapes, structure)
            self._known[key] = Operation(name, kind, flops, nbytes, size, dtype, call=recorded)
            self.counts.operations.append(self._known[key])
        self._known[key].count += 1


def _convolution_flops(x_shape: Any, weight_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """FLOPs of oneDNN's convolution operator, which torch's counter does not know."""
    return conv_flop_count(list(x_shape), list(weight_shape), list(out_shape))


def _linear_flops(x_shape: Any, weight_shape: Any, *_: Any, **__: Any) -> int:
    """FLOPs of this package's products, whose weight is [N, K]."""
    return 2 * math.prod(x_shape) * weight_shape[0]


def _fp8_linear_flops(x_shape: Any, _: Any, weight_shape: Any, *__: Any, **___: Any) -> int:
    """The same in 8 bits, with a scale after each operand."""
    return 2 * math.prod(x_shape) * weight_shape[0]


_MORE_FLOPS: dict[Any, Any] = {torch.ops.aten.mkldnn_convolution: _convolution_flops}
_OWN_FLOPS = {"linear_gelu": _linear_flops, "linear_out": _linear_flops, "fp8_linear_out": _fp8_linear_flops}


def _custom_flops() -> dict[Any, Any]:
    """By operator. This package's are known once their modules have been imported."""
    own = {getattr(torch.ops.pp1, name): flops for name, flops in _OWN_FLOPS.items() if hasattr(torch.ops.pp1, name)}
    return _MORE_FLOPS | own


@contextmanager
def counting(memory: MemoryTracker | None = None, *, fused: bool = False) -> Generator[OpCounts]:
    """Count all operations inside, and follow their memory. The counts are complete when the context ends.

    fused: as a compiler would run them (`planning.fusion`).
    """
    flops, passes = FlopCounterMode(display=False, custom_mapping=_custom_flops()), FusedPasses()
    followed = passes if fused else nullcontext()
    with torch.inference_mode(), flops, _Recorder(flops) as recorder, memory or nullcontext(), followed:
        yield recorder.counts
    if fused:
        recorder.counts.fuse(passes.passes())


class CountingShard:
    """A rank of the mesh (`models.wan.tensor_parallel.Shard`) that counts its collectives instead of doing them."""

    def __init__(self, degree: int) -> None:
        self.rank, self.degree = 0, degree
        self.reset()

    def reset(self) -> None:
        self.reductions, self.nbytes = 0, 0
        self.exchanges, self.exchange_bytes = 0, 0

    def all_reduce(self, tensor: Tensor) -> Tensor:
        self.reductions += 1
        self.nbytes += tensor.nbytes
        return tensor

    def all_to_all(self, send: Sequence[Tensor], receive: Sequence[Tensor]) -> None:
        self.exchanges += 1
        self.exchange_bytes += sum(tensor.nbytes for tensor in send)
        for out, part in zip(receive, send, strict=True):
            out.copy_(part)  # what a rank does with memory, besides sending
