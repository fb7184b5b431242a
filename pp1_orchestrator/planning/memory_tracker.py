"""Follows the memory of tensors that are alive at the same time, operation by operation, without their data.

Knows storages and when they are freed. Knows nothing of modules, time, or what an operation computes.
"""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK_BYTES = 512
"""CUDA's allocator hands out multiples of this."""


def in_blocks(nbytes: int) -> int:
    """nbytes, rounded up to whole allocator blocks."""
    return -(-nbytes // BLOCK_BYTES) * BLOCK_BYTES


def storage_key(storage: Any) -> int:
    """What two tensors have in common that share their memory, as long as either is alive."""
    return storage._cdata


class MemoryTracker(TorchDispatchMode):
    """Bytes of storages that were allocated inside and are still alive: `current`, and the `peak` so far.

    Older storages do not count, even when they are written to. The tracker may be entered several times; a tensor that
    is kept in between still counts. Attention is one operation, as on a GPU: no matrix of scores is counted.
    """

    def __init__(self, device_type: str = "meta") -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.current = self.peak = 0
        self._device_type = device_type
        self._finalizers: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.device.type == self._device_type]
        if results:
            inputs = {storage_key(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            for tensor in results:
                self._allocated(tensor.untyped_storage(), inputs)
        return out

    def _allocated(self, storage: torch.UntypedStorage, inputs: set[int]) -> None:
        key = storage_key(storage)
        if key in inputs or key in self._finalizers:
            return
        nbytes = in_blocks(storage.nbytes())
        self._finalizers[key] = weakref.finalize(storage, self._freed, key, nbytes)
        self.current += nbytes
        self.peak = max(self.peak, self.current)

    def _freed(self, key: int, nbytes: int) -> None:
        del self._finalizers[key]
        self.current -= nbytes
