"""The memory of tensors that are there at the same time, followed from operation to operation without their data.

Knows storages and when they go. Knows nothing of modules, of time, or of what an operation computes.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK = 512
"""CUDA's allocator hands memory out in multiples of it."""


def in_blocks(nbytes: int) -> int:
    """What so many bytes take of a device."""
    return -(-nbytes // BLOCK) * BLOCK


class MemoryTracker(TorchDispatchMode):
    """Bytes of what was made inside, on one kind of device, and is still there: `now`, and the `most` so far.

    What was there before does not count, nor does it when it is written to. May be entered again and again: what is
    kept between two times still counts. An attention is one operation, as a GPU's kernels are: there is no matrix of
    its scores.
    """

    def __init__(self, device_type: str = "meta") -> None:
        super().__init__()
        self.now = self.most = 0
        self._device_type = device_type
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.device.type == self._device_type]
        if made:
            given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            for tensor in made:
                self._take(tensor.untyped_storage(), given)
        return out

    def _take(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key = storage._cdata
        if key in given or key in self._known:
            return
        nbytes = in_blocks(storage.nbytes())
        self._known[key] = weakref.finalize(storage, self._let_go, key, nbytes)
        self.now += nbytes
        self.most = max(self.most, self.now)

    def _let_go(self, key: int, nbytes: int) -> None:
        del self._known[key]
        self.now -= nbytes
