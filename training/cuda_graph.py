"""Runs a training step as one CUDA graph, to save the cost of launching thousands of kernels."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

_Result = TypeVar("_Result")
_WARM_UPS = 3  # calls before the capture, for compilation, algorithm choice and optimiser state


class CudaGraphed(Generic[_Result]):
    """A function as a CUDA graph. On a CPU, the function itself is called.

    The function has no arguments, uses tensors at fixed addresses, and returns tensors that the next call overwrites.
    The first call runs it several times, to warm up and capture.
    """

    def __init__(self, function: Callable[[], _Result], device: torch.device) -> None:
        self._function, self._device = function, device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: _Result | None = None

    def __call__(self) -> _Result:
        if self._device.type != "cuda":
            return self._function()
        if self._graph is None:
            self._capture()
        assert self._graph is not None
        assert self._result is not None
        self._graph.replay()
        return self._result

    def _capture(self) -> None:
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._function()
        torch.cuda.current_stream(self._device).wait_stream(side)
        torch.cuda.synchronize(self._device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = self._function()
