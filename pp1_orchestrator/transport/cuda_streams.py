"""CUDA streams: each thread works on its own stream, and a fence orders two streams where tensors change threads.

A fence gives order (the receiving stream waits for an event) and lifetime (the memory is not reused while that stream
may still read it). On a CPU all of this does nothing.
"""

import contextlib
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor


class StreamFence:
    """The current point of the calling thread's stream. Made by the thread that passes tensors on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(device))

    def wait(self, tensors: Iterable[Tensor]) -> None:
        """Order the calling thread's stream after the fence. Call it before using `tensors` there."""
        if self._event is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._event)
        for tensor in tensors:
            if tensor.is_cuda:
                tensor.record_stream(stream)


def dedicated_stream(device: torch.device) -> AbstractContextManager[object]:
    """A new stream for everything that the calling thread does in the context."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))
