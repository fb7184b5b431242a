"""Process groups, made in this one place and in the same order on every rank.

`world` {0..N} only makes the others. `pp` {0, 1} connects rank 0 and the leader. `mesh` {1..N} is the mesh. Only its
members can get a group: on other ranks `group` raises before the backend is called.

Messages are small and stay in host memory: rank 0 and the leader exchange them through shared memory, or through gloo
if they can't share any. Only the collectives that split a model use a GPU's own backend, in `sums` {1..N}. So rank 0
has no communicator that a dead mesh could block.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_reduce  # pyright: ignore[reportUnknownVariableType]

from pp1_orchestrator.errors import MeshError, PeerError
from pp1_orchestrator.transport import ring_buffer, shared_collectives, shared_memory
from pp1_orchestrator.transport.link import Channel
from pp1_orchestrator.transport.ring_buffer import RingBufferChannel
from pp1_orchestrator.transport.shared_memory import SharedMemory
from pp1_orchestrator.transport.tcp_store import Store

_dist: Any = dist  # for functions whose declarations leave types out
STAGE0 = 0
LEADER = 1
MESSAGE_BACKEND = "gloo"
"""Backend of every group but `sums`."""
MESSAGE_DEVICE = torch.device("cpu")
"""Where messages between processes live."""


GroupName = Literal["pp", "mesh", "sums"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. start: rendezvous and making groups. message: one send, receive or collective, including idle time."""

    start: float
    message: float


class Topology:
    """This rank's groups. Every rank makes one, before anything else is sent."""

    def __init__(self, store: Store, rank: int, mesh_size: int, backend: str, timeouts: Timeouts) -> None:
        """backend: of the `sums` group. Raises PeerError if rank 0 or the leader is gone."""
        self.rank, self.mesh_size = rank, mesh_size
        self.backend, self.timeouts = backend, timeouts
        start, message = timedelta(seconds=timeouts.start), timedelta(seconds=timeouts.message)
        dist.init_process_group(MESSAGE_BACKEND, store=store, rank=rank, world_size=mesh_size + 1, timeout=start)
        members = list(range(LEADER, mesh_size + 1))
        pp, mesh = _dist.new_group([STAGE0, LEADER], timeout=message), _dist.new_group(members, timeout=message)
        own_sums = mesh_size > 1 and backend != MESSAGE_BACKEND
        sums = _dist.new_group(members, timeout=message, backend=backend) if own_sums else mesh
        self._groups: dict[GroupName, object] = {"pp": pp, "mesh": mesh, "sums": sums}
        self.peer = LEADER if rank == STAGE0 else STAGE0
        self.pp_memory: SharedMemory | None = None
        """Of rank 0 and the leader, if they can share memory."""
        if rank in (STAGE0, LEADER):
            with _translate_peer_errors(f"rank {self.peer}"):
                self.pp_memory = ring_buffer.attach(self.group("pp"), timeouts.message, f"rank {self.peer}")

    def group(self, name: GroupName) -> dist.ProcessGroup:
        """Raises MeshError on a rank that is not in the group."""
        group = self._groups[name]
        if not isinstance(group, dist.ProcessGroup):  # `new_group` returns an int on other ranks
            raise MeshError(f"rank {self.rank} is not in the {name} group and must not use it")
        return group

    def close(self) -> None:
        if self.pp_memory is not None:
            self.pp_memory.close()
        dist.destroy_process_group()


def in_use() -> bool:
    """Whether this process has groups already, its own or a program's around it: torch keeps one set a process."""
    return dist.is_initialized()


_forgetting = threading.Lock()


def forget_groups() -> None:
    """Clean up after a failed attempt to make groups, so that the next one starts as in a new process. Thread-safe."""
    with _forgetting:
        if dist.is_initialized():
            dist.destroy_process_group()
        _dist.distributed_c10d._world.group_count = 0  # names of new groups count it, and must be those of the peers


@contextmanager
def _translate_peer_errors(peer: str) -> Generator[None]:
    """The backend's errors about a peer that has ended or is silent, as a PeerError of one line."""
    try:
        yield
    except RuntimeError as error:
        reason = "was silent for too long" if "imed out" in str(error) else "has ended"
        raise PeerError(f"{peer} {reason}") from error


class MeshShard:
    """A mesh rank's collectives, as a split model needs them. Implements `models.wan.tensor_parallel.Shard`."""

    def __init__(self, topology: Topology) -> None:
        """Ranks with the gloo backend are on one host, so they use shared memory if they can."""
        self._group, self._sums = topology.group("mesh"), topology.group("sums")
        self._on_host = topology.backend == MESSAGE_BACKEND
        shared = self._on_host and topology.mesh_size > 1
        self._shared = shared_collectives.attach(self._group, topology.timeouts.message) if shared else None
        self.rank = topology.rank - LEADER
        self.degree = topology.mesh_size

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum over the mesh: in place, except in compiled code. tensor: on the device where the ranks compute.

        Raises PeerError if a rank has ended or is silent for too long.
        """
        if torch.compiler.is_compiling():  # the functional form, which the compiler can trace
            return all_reduce(tensor, "sum", self._sums)
        if self._shared is not None and tensor.is_contiguous() and self._shared.supports(tensor):
            self._shared.all_reduce_(tensor)
            return tensor
        with _translate_peer_errors("a rank of the mesh"):
            _dist.all_reduce(tensor, group=self._sums)
        return tensor

    def all_to_all(self, send: Sequence[Tensor], receive: Sequence[Tensor]) -> None:
        """Exchange tensors [degree, …] over the mesh, all of one type: `send[i][p]` becomes `receive[i][own rank]` of
        rank p. Their strides may be any. Raises PeerError as `all_reduce` does."""
        if self._shared is not None and self._shared.supports(*send):
            self._shared.all_to_all(send, receive)
            return
        sent = torch.cat([part.reshape(self.degree, -1) for part in send], dim=1)
        home = MESSAGE_DEVICE if self._on_host else sent.device  # gloo exchanges nothing on a GPU
        sent = sent.to(home)
        found = torch.empty_like(sent)
        with _translate_peer_errors("a rank of the mesh"):
            _dist.all_to_all_single(found, sent, group=self._sums)
        parts = torch.split(found, [part[0].numel() for part in send], dim=1)
        for out, part in zip(receive, parts, strict=True):
            out.copy_(part.view(out.shape))

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Copy the leader's values to every mesh rank, in place. tensor: in host memory. Raises PeerError."""
        with _translate_peer_errors("a rank of the mesh"):
            dist.broadcast(tensor, src=LEADER, group=self._group)
        return tensor


class GlooChannel(Channel):
    """Between two ranks that can't share memory."""

    device = MESSAGE_DEVICE

    def __init__(self, group: dist.ProcessGroup, peer: int) -> None:
        self._group, self._peer, self._peer_name = group, peer, f"rank {peer}"

    def start_send(self, tensors: Sequence[Tensor]) -> Callable[[], None]:
        with _translate_peer_errors(self._peer_name):
            works = [dist.isend(tensor, self._peer, group=self._group) for tensor in tensors]
        return partial(self._finish, works)

    def receive(self, tensor: Tensor) -> None:
        with _translate_peer_errors(self._peer_name):
            dist.recv(tensor, self._peer, group=self._group)

    def _finish(self, works: Sequence[dist.Work | None]) -> None:
        with _translate_peer_errors(self._peer_name):
            for work in works:
                assert work is not None
                work.wait()


def open_channel(topology: Topology) -> Channel:
    """Rank 0's channel to the leader, or the leader's to rank 0. Raises MeshError on other ranks."""
    group, memory = topology.group("pp"), topology.pp_memory
    return GlooChannel(group, topology.peer) if memory is None else RingBufferChannel(memory, topology.rank)


WAIT_FILES = frozenset({__file__, shared_memory.__file__, ring_buffer.__file__})
"""Code files in which a rank waits for another rank: a stack with a frame in one of them shows such a wait."""
