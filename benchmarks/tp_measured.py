"""Tensor-parallel meshes at Wan2.1's real sizes: milliseconds per chunk of the generator, one GPU for each rank.

    python -m benchmarks.tp_measured --only 14B-320x576 --degrees 1 2 4
    python -m benchmarks.tp_measured --only 1.3B-480x832 --degrees 2 --ways eager --shared
    python -m benchmarks.tp_measured --only small --degrees 2 --ways eager --device cpu

`--shared` puts all ranks on one GPU, as layout=gpu_shared does, to compare values. Distances are relative to one eager
rank of the same type: for the first chunk of a stream, and for the last chunk before the timed ones. `ranks alike`
says whether all ranks have the same bits then. `latents` is their digest, with which starts can be compared.
"""

import argparse
import hashlib
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.machine import describe
from benchmarks.rank_chunks import RankChunks
from benchmarks.settings import settings_of
from benchmarks.sizes import ALL_CASES, CASES, PIXEL_FRAMES
from benchmarks.timing import distance, of, spread, waited_for
from pp1_orchestrator.processes.fork_server import PRELOAD
from pp1_orchestrator.processes.process_tuning import (
    limit_threads,
    select_device,
    set_environment,
    use_loopback_for_gloo,
)
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0, MeshShard, Timeouts, Topology
from pp1_orchestrator.transport.tcp_store import host_store, join_store

WAIT_S = 300.0
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class Task:
    """What a mesh measures. device: cuda or cpu; shared: all ranks are on the first device."""

    case: str
    degree: int
    way: str
    dtype: str
    device: str
    shared: bool
    chunks: int | None
    repeats: int
    port: int
    folder: Path

    def device_of(self, rank: int) -> torch.device:
        if self.device == "cpu" or rank == STAGE0:
            return torch.device("cpu")
        return torch.device("cuda", 0 if self.shared else rank - LEADER)


@torch.inference_mode()
def act(index: int, task: Task) -> None:
    """Runs one rank from start to end. Rank 0 makes the groups, as in the program, and waits."""
    limit_threads(1)
    use_loopback_for_gloo()
    device = task.device_of(index)
    if index != STAGE0 and task.device == "cuda":
        if task.shared:
            set_environment(settings_of(["layout=gpu_shared"], {}).layout.environment, index)
        select_device(device, 1.0)
    store = join_store(task.port, task.degree + 1, WAIT_S)
    backend = "nccl" if task.device == "cuda" else "gloo"
    topology = Topology(store, index, task.degree, backend, Timeouts(WAIT_S, WAIT_S))
    if index != STAGE0:
        chunks = RankChunks(ALL_CASES[task.case], MeshShard(topology), device, DTYPES[task.dtype], task.way)
        first, last = chunks.fill(task.chunks)
        left = {"first": first.cpu(), "last": last.cpu(), "ms": torch.tensor(waited_for(chunks, task.repeats))}
        save_file(left, task.folder / f"{index}.safetensors")
        chunks.close()
    dist.barrier()  # of all ranks, through the host
    topology.close()


def run(task: Task) -> list[dict[str, Tensor]]:
    """What each mesh rank has written. A helper process that has used no GPU forks them, so imports are done once."""
    multiprocessing.set_forkserver_preload(PRELOAD)
    mp.start_processes(act, (task,), nprocs=task.degree + 1, start_method="forkserver")
    return [load_file(task.folder / f"{rank}.safetensors") for rank in range(LEADER, task.degree + 1)]


def row(task: Task, ranks: Sequence[dict[str, Tensor]], one: dict[str, Tensor]) -> str:
    """one: what one eager rank has written."""
    times = of(ranks[0]["ms"].tolist())
    off = " | ".join(f"{distance(ranks[0][name], one[name]):.1e}" for name in ("first", "last"))
    alike = all(torch.equal(ranks[0]["last"], rank["last"]) for rank in ranks)
    apart = "yes" if alike else f"{max(distance(rank['last'], ranks[0]['last']) for rank in ranks):.1e} apart"
    speed = f"{spread(times)} | {PIXEL_FRAMES * 1e3 / times[0]:.1f}"
    digest = hashlib.sha256(ranks[0]["last"].float().contiguous().numpy().data).hexdigest()
    bits = f"{apart} | {digest[:12]}"
    return f"| {task.case} | {task.dtype} | {task.way} | {task.degree} | {speed} | {off} | {bits} |"


def rows(options: argparse.Namespace, case: str, dtype: str) -> None:
    """Prints rows as they come. The first is a single eager rank, with which all others are compared."""
    pairs = [(1, "eager"), *((degree, way) for degree in options.degrees for way in options.ways)]
    one: dict[str, Tensor] = {}
    for degree, way in dict.fromkeys(pairs):
        with tempfile.TemporaryDirectory() as name:
            store = host_store(degree + 1, WAIT_S)
            where = (options.device, options.shared, options.chunks, options.repeats, store.port, Path(name))
            task = Task(case, degree, way, dtype, *where)
            ranks = run(task)
        one = one or ranks[0]
        sys.stdout.write(row(task, ranks, one) + "\n")
        sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(ALL_CASES))
    parser.add_argument("--degrees", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--ways", nargs="*", default=["eager", "captured"])
    parser.add_argument("--dtypes", nargs="*", default=["bfloat16"], choices=list(DTYPES))
    parser.add_argument("--chunks", type=int, help="before the timed ones; by default until the steady state")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--shared", action="store_true")
    options = parser.parse_args(words)
    columns = ["generator", "type", "passes", "ranks", "ms per chunk (min–max)", "FPS"]
    columns += ["first chunk's distance", "last one's", "ranks alike", "latents"]
    sys.stdout.write(f"{describe()}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
    sys.stdout.flush()
    for case in options.only:
        for dtype in options.dtypes:
            rows(options, case, dtype)


if __name__ == "__main__":
    main()
