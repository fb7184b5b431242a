"""Counts a computation's operations, their FLOPs and the bytes they move, without computing anything.

Modules run on the meta device, where a tensor has a shape and no data. FLOPs are torch's own count
(`torch.utils.flop_counter`); bytes are those of an operation's operands and results. Knows nothing of time.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from pp1_orchestrator.planning.memory_tracker import MemoryTracker, storage_key

Kind = Literal["matmul", "attention", "conv", "other"]
KINDS: tuple[Kind, ...] = ("matmul", "attention", "conv", "other")


@dataclass(frozen=True, slots=True)
class TensorShape:
    """A tensor without its data."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


@dataclass(slots=True)
class Operation:
    """`count` equal calls of an operator. The arguments are flattened, with a TensorShape in place of each tensor."""

    operator: Callable[..., Any]
    arguments: list[Any]
    structure: TreeSpec
    kind: Kind
    flops: int
    nbytes: int
    count: int = 0

    @property
    def amount(self) -> int:
        """The work that its rate refers to: FLOPs of a product, bytes of anything else."""
        return self.flops or self.nbytes


@dataclass(slots=True)
class OpCounts:
    """What was counted. `calls` includes views. Reductions are all-reduces over the mesh."""

    operations: list[Operation] = field(default_factory=list[Operation])
    calls: int = 0
    reductions: int = 0
    reduction_bytes: int = 0

    @property
    def flops(self) -> int:
        return sum(op.flops * op.count for op in self.operations)

    def flops_of(self, kind: Kind) -> int:
        return sum(op.flops * op.count for op in self.operations if op.kind == kind)

    @property
    def other_bytes(self) -> int:
        """Bytes moved by operations that are not products: additions, norms, copies."""
        return sum(op.nbytes * op.count for op in self.operations if op.kind == "other")


def _kind(name: str, flops: int) -> Kind:
    if not flops:
        return "other"
    if "conv" in name:
        return "conv"
    return "attention" if "attention" in name else "matmul"


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
            nbytes = sum(t.nbytes for t in (*operands, *results))
            self._add(func, (args, kwargs), self._flops.get_total_flops() - before, nbytes)
        return out

    def _is_view(self, func: Any, operands: list[Tensor], results: list[Tensor]) -> bool:
        if func._schema.is_mutable:
            return False
        owned = {storage_key(t.untyped_storage()) for t in operands}
        return all(storage_key(t.untyped_storage()) in owned for t in results)

    def _add(self, func: Any, call: tuple[Any, Any], flops: int, nbytes: int) -> None:
        leaves, structure = tree_flatten(call)
        shapes = [
            TensorShape(tuple(leaf.shape), leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else leaf
            for leaf in leaves
        ]
        key = (str(func), tuple(repr(shape) for shape in shapes), str(structure))
        if key not in self._known:
            self._known[key] = Operation(func, shapes, structure, _kind(str(func), flops), flops, nbytes)
            self.counts.operations.append(self._known[key])
        self._known[key].count += 1


def _convolution_flops(x_shape: Any, weight_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """FLOPs of oneDNN's convolution operator, which torch's counter does not know."""
    return conv_flop_count(list(x_shape), list(weight_shape), list(out_shape))


_MORE_FLOPS = {torch.ops.aten.mkldnn_convolution: _convolution_flops}


@contextmanager
def counting(memory: MemoryTracker | None = None) -> Generator[OpCounts]:
    """Count all operations inside, and follow their memory. The counts are complete when the context ends."""
    flops = FlopCounterMode(display=False, custom_mapping=_MORE_FLOPS)
    with torch.inference_mode(), flops, _Recorder(flops) as recorder, memory or nullcontext():
        yield recorder.counts


class CountingShard:
    """A rank of the mesh (`models.wan.tensor_parallel.Shard`) that counts its all-reduces instead of doing them."""

    def __init__(self, degree: int) -> None:
        self.rank, self.degree = 0, degree
        self.reset()

    def reset(self) -> None:
        self.reductions, self.nbytes = 0, 0

    def all_reduce(self, tensor: Tensor) -> Tensor:
        self.reductions += 1
        self.nbytes += tensor.nbytes
        return tensor
