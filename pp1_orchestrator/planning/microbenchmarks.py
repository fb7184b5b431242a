"""How fast a device does what models are made of: matrix products, convolutions, attention, passes over memory.

Each function measures one kind at given sizes, with made-up data, and knows nothing of a model. On a GPU the calls are
captured as a graph and replayed for long enough that the power limit counts, as in a stream. Weights and large tensors
take turns, so that they come from memory and not from a cache. Imports torch and this package's operators alone.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear, scaled_dot_product_attention

from pp1_orchestrator.models.wan.attention import preferred_kernels
from pp1_orchestrator.models.wan.ops.norms import fused_add_layer_norm
from pp1_orchestrator.models.wan.ops.quantize import FP8, quantize_rowwise
from pp1_orchestrator.models.wan.ops.split_kv_attention import AttentionKernel
from pp1_orchestrator.typed_torch import scaled_mm

Call = Callable[[], object]
Sample = tuple[int, ...]
Rate = tuple[Sample, float]
"""A size, and the FLOPs or bytes a second that were reached there."""
COLD_BYTES = 160 << 20
"""Operands that take turns are this large together: more than a cache holds."""
MAX_TURNS = 32
MIN_CALLS = 3
TICK_S = 1e-9
"""The shortest time that counts as more than nothing."""
REPLAY_S = 4e-3
"""A graph holds about this much work."""


class Stopwatch:
    """Times calls on one device. seconds: spent on each size, after a call to warm up."""

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device, self._seconds = device, seconds

    def __call__(self, calls: Sequence[Call]) -> float:
        """Seconds of one call, while all of them take turns."""
        for call in calls[:1]:
            call()
        return self._on_gpu(calls) if self.device.type == "cuda" else self._on_cpu(calls)

    def _on_cpu(self, calls: Sequence[Call]) -> float:
        """The shortest, by the processor's time where this thread does all the work: others may be busy meanwhile."""
        clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        best, end = math.inf, clock() + self._seconds
        for count, call in enumerate(itertools.cycle(calls)):
            if count >= MIN_CALLS and clock() >= end:
                break
            start = clock()
            call()
            best = min(best, clock() - start)
        return max(best, TICK_S)

    def _on_gpu(self, calls: Sequence[Call]) -> float:
        round_s = self._replayed(calls, rounds=1, replays=3)
        rounds = max(1, round(REPLAY_S / round_s))
        replays = max(5, round(self._seconds / (rounds * round_s)))
        return self._replayed(calls, rounds, replays) / (rounds * len(calls))

    def _replayed(self, calls: Sequence[Call], rounds: int, replays: int) -> float:
        """The median time of a graph with `rounds` times all calls."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(rounds):
                for call in calls:
                    call()
        graph.replay()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(replays + 1)]
        marks[0].record()
        for mark in marks[1:]:
            graph.replay()
            mark.record()
        torch.cuda.synchronize(self.device)
        return median(a.elapsed_time(b) for a, b in itertools.pairwise(marks)) / 1e3


def _turns(nbytes: int) -> int:
    return max(2, min(MAX_TURNS, COLD_BYTES // max(1, nbytes)))


def products(watch: Stopwatch, dtype: torch.dtype, sizes: Iterable[Sample]) -> list[Rate]:
    """FLOPs a second of x [m, k] · Wᵀ [k, n] + b. sizes: m, n, k. 8-bit products have a scale for each row."""
    return [((m, n, k), 2 * m * n * k / watch(_product_calls(watch.device, dtype, m, n, k))) for m, n, k in sizes]


def _product_calls(device: torch.device, dtype: torch.dtype, m: int, n: int, k: int) -> list[Call]:
    wide = torch.bfloat16 if dtype == FP8 else dtype
    x, bias = torch.randn(m, k, device=device, dtype=wide), torch.randn(n, device=device, dtype=wide)
    weights = [torch.randn(n, k, device=device, dtype=wide) for _ in range(_turns(n * k * dtype.itemsize))]
    if dtype != FP8:
        return [lambda w=w: linear(x, w, bias) for w in weights]
    (rows, scale), narrow = quantize_rowwise(x, False), [quantize_rowwise(w, False) for w in weights]
    return [
        lambda w=w, s=s: scaled_mm(rows, w.t(), scale, s.view(1, -1), bias=bias, out_dtype=wide, use_fast_accum=True)
        for w, s in narrow
    ]


def convolutions(watch: Stopwatch, dtype: torch.dtype, sizes: Iterable[Sample]) -> list[Rate]:
    """FLOPs a second of 3×3 convolutions in channels-last order. sizes: frames, inputs, outputs, height, width."""
    rates: list[Rate] = []
    for frames, inner, outer, height, width in sizes:
        x = torch.randn(frames, inner, height, width, device=watch.device, dtype=dtype)
        weight = torch.randn(outer, inner, 3, 3, device=watch.device, dtype=dtype) / 3
        x, weight = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
        bias = torch.randn(outer, device=watch.device, dtype=dtype)
        seconds = watch([lambda x=x, weight=weight, bias=bias: conv2d(x, weight, bias, padding=1)])
        flops = 2 * 9 * frames * inner * outer * height * width
        rates.append(((frames, inner, outer, height, width), flops / seconds))
    return rates


def attention(
    watch: Stopwatch, dtype: torch.dtype, sizes: Iterable[Sample], kernel: AttentionKernel | None = None
) -> list[Rate]:
    """FLOPs a second of attention by a kernel, or by torch's choice. sizes: width of a head, heads, queries, keys."""
    rates: list[Rate] = []
    for head_dim, heads, queries, keys in sizes:
        shape = (1, queries, heads, head_dim)
        q = torch.randn(shape, device=watch.device, dtype=dtype)
        k, v = (torch.randn(1, keys, heads, head_dim, device=watch.device, dtype=dtype) for _ in range(2))
        with preferred_kernels(watch.device)():
            seconds = watch([_attention_call(q, k, v, kernel)])
        rates.append(((head_dim, heads, queries, keys), 4 * heads * queries * keys * head_dim / seconds))
    return rates


def _attention_call(q: Tensor, k: Tensor, v: Tensor, kernel: AttentionKernel | None) -> Call:
    if kernel is not None:
        return lambda: kernel(q, k, v)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return lambda: scaled_dot_product_attention(q, k, v)


def copies(watch: Stopwatch, sizes: Iterable[int]) -> list[Rate]:
    """Bytes a second, read and written, of copies. sizes: bytes moved by one."""
    rates: list[Rate] = []
    for nbytes in sizes:
        pairs = [
            torch.zeros(2, nbytes // 2, dtype=torch.uint8, device=watch.device).unbind() for _ in range(_turns(nbytes))
        ]
        rates.append(((nbytes,), nbytes / watch([lambda a=a, b=b: a.copy_(b) for a, b in pairs])))
    return rates


def rows(watch: Stopwatch, dtype: torch.dtype, sizes: Iterable[Sample]) -> list[Rate]:
    """Bytes a second of an addition with the layer norm of its result, by this package's kernel. sizes: rows, width."""
    rates: list[Rate] = []
    for count, width in sizes:
        x, change = (torch.randn(1, count, width, device=watch.device, dtype=dtype) for _ in range(2))
        scale, shift, gate = (torch.randn(width, device=watch.device, dtype=dtype) for _ in range(3))
        call: Call = lambda x=x, c=change, g=gate, s=(scale, shift): fused_add_layer_norm(x, c, g, *s, 1, 1e-6)  # noqa: E731
        rates.append(((4 * x.nbytes,), 4 * x.nbytes / watch([call])))
    return rates


def launch_seconds(watch: Stopwatch) -> float:
    """What a kernel costs a device apart from its work, in a captured graph."""
    x = torch.zeros(8, device=watch.device)
    return watch([lambda: x.add_(1)] * 100)


def call_seconds(device: torch.device, count: int = 2000) -> float:
    """What one of torch's operations costs the host, of the kinds that a block calls."""
    x, weight = torch.zeros(1, 16, 16, device=device), torch.zeros(16, 16, device=device)
    spent = math.inf
    for _ in range(3):
        start = time.thread_time()
        for _ in range(count // 4):
            y = linear(x, weight)
            (y.view(1, 16, 2, 8) + 1).flatten(-2)
        spent = min(spent, time.thread_time() - start)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return spent / count


def host_copy_bytes_s(device: torch.device, nbytes: int = 16 << 20) -> float:
    """Bytes a second from the device to pinned memory of the host."""
    source, target = torch.zeros(nbytes, dtype=torch.uint8, device=device), torch.zeros(nbytes, dtype=torch.uint8)
    target = target.pin_memory() if device.type == "cuda" else target
    spent = math.inf
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent = min(spent, time.perf_counter() - start)
    return nbytes / spent
