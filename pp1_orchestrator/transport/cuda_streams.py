"""Order between threads on a GPU: each thread has a stream of its own, and fences where tensors change hands.

On a CPU there is one order only, and all of this does nothing. A fence gives order (the receiving stream waits for the
event) and lifetime (the memory is not reused while that stream may still read it).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor


class StreamFence:
    """The point that this thread's stream has come to. Made by the thread that hands tensors on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(device))

    def cross(self, tensors: Iterable[Tensor]) -> None:
        """Called by the thread that takes them over, before it uses them."""
        if self._event is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._event)
        for tensor in tensors:
            if tensor.is_cuda:
                tensor.record_stream(stream)


def dedicated_stream(device: torch.device) -> AbstractContextManager[object]:
    """A stream of its own for everything that the calling thread does inside the context."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))
