"""What our kernels use of Triton, which is installed with the CUDA builds of torch only."""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

class JITFunction(Generic[P, R]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]: ...

def jit(fn: Callable[P, R]) -> JITFunction[P, R]: ...
def next_power_of_2(n: int) -> int: ...
