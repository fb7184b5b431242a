"""What rank 0 and a leader do in a test: exchange messages, break one, fall silent, go away."""

import contextlib
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pp1_orchestrator.contract import PPResultV3, Result, wire
from pp1_orchestrator.contract.result import LATENTS_OUT
from pp1_orchestrator.errors import ContractError, MeshError
from pp1_orchestrator.transport.link import Channel, MeshLink, receive_message
from pp1_orchestrator.transport.process_groups import STAGE0, WAIT_FILES, Topology, open_channel
from pp1_orchestrator.transport.ring_buffer import RING_BYTES, attach
from tests.transport.factories import first_chunk
from tests.transport.world import WAIT_S, RankContext, Report

CPU = torch.device("cpu")
LATENTS = torch.arange(1 * 3 * 4 * 4 * 6, dtype=torch.float32).view(1, 3, 4, 4, 6)
EMBEDS = torch.linspace(-1, 1, 7 * 24, dtype=torch.bfloat16).view(1, 7, 24)
SILENCE_S = 0.5
WAYS = ("memory", "sockets")
BULK = [
    (5, torch.int64),
    (0, torch.float32),
    (RING_BYTES // 4 + 999, torch.float32),
    (7, torch.bfloat16),
    (RING_BYTES + 3, torch.uint8),
    (1001, torch.float32),
]


def act(seat: RankContext) -> Report:
    """Everything through shared memory and through sockets; then the leader's process ends."""
    report: Report = {way: {name: act(seat, way) for name, act in ACTS.items()} for way in WAYS}
    topology = seat.topology("gone", 1)
    through_memory, topology.pp_memory = open_channel(topology), None
    pipes = dict(zip(WAYS, (through_memory, open_channel(topology)), strict=True))
    report["gone"] = {way: _error_on_rank_0(seat, pipe) for way, pipe in pipes.items()}
    topology.close()
    return report


def _topology(seat: RankContext, name: str, way: str, message_s: float = WAIT_S) -> Topology:
    topology = seat.topology(f"{name}-{way}", 1, message_s)
    assert topology.pp_memory is not None
    if way == "sockets":
        topology.pp_memory = None
    return topology


def _exchange(seat: RankContext, way: str) -> Report:
    """Rank 0 asks, the leader answers with the latents doubled."""
    topology = _topology(seat, "exchange", way)
    pipe = open_channel(topology)
    if seat.rank == STAGE0:
        link = MeshLink(pipe)
        sending = link.start_send(wire.pack_envelope(first_chunk(LATENTS.shape, EMBEDS)))
        sending()
        received = link.receive()
        same = torch.equal(received.message.tensors[LATENTS_OUT], 2 * LATENTS)
    else:
        received = receive_message(pipe.receive, CPU)
        sent = first_chunk(LATENTS.shape, EMBEDS)
        found = received.message
        same = found.meta == sent.meta and all(torch.equal(found.tensors[n], t) for n, t in sent.tensors.items())
        answer = PPResultV3(call_id=1, chunk_index=0, cache_epoch=0, ok=True)
        message = wire.pack_result(Result(answer, {LATENTS_OUT: 2 * LATENTS}))
        MeshLink(pipe).send(message)
    topology.close()
    return {"same": same, "nbytes": received.nbytes, "in_order": received.header_ns <= received.done_ns}


def _bulk(seat: RankContext, way: str) -> Report:
    """Tensors of many sizes and kinds, more than the memory between the two holds; the leader takes them on a signal,
    and sends them back."""
    topology = _topology(seat, "bulk", way)
    pipe, sent = open_channel(topology), [torch.arange(size).to(dtype) for size, dtype in BULK]
    if seat.rank == STAGE0:
        waits = [pipe.start_send(sent[:2]), *(pipe.start_send([tensor]) for tensor in sent[2:])]
        seat.store.set(f"taken-{way}", "")
        for wait in waits:
            wait()
    else:
        seat.store.get(f"taken-{way}")
    found = [torch.empty_like(tensor) for tensor in sent]
    for tensor in found:
        pipe.receive(tensor)
    if seat.rank != STAGE0:
        pipe.start_send(found)()
    topology.close()
    return {"wrong": [n for n, pair in enumerate(zip(sent, found, strict=True)) if not torch.equal(*pair)]}


def _crossing(seat: RankContext, way: str) -> bool:
    """Both send more than fits, and receive before they wait for it to be taken."""
    topology = _topology(seat, "crossing", way)
    pipe, large = open_channel(topology), torch.arange(2 * RING_BYTES + 3).to(torch.uint8)
    found, wait = torch.empty_like(large), pipe.start_send([large])
    seat.store.set(f"crossing-{way}-{seat.rank}", "")
    seat.store.get(f"crossing-{way}-{1 - seat.rank}")
    pipe.receive(found)
    wait()
    topology.close()
    return torch.equal(found, large)


def _broken(seat: RankContext, way: str) -> str:
    """The leader sends a broken header and nothing more: whoever waited for the rest would wait in vain."""
    topology = _topology(seat, "broken", way)
    pipe, said = open_channel(topology), ""
    if seat.rank == STAGE0:
        try:
            MeshLink(pipe).receive()
        except ContractError as error:
            said = str(error)
    else:
        message = wire.pack_envelope(first_chunk(LATENTS.shape, EMBEDS))
        pipe.start_send([message.header + 1])()
    topology.close()
    return said


def _silent(seat: RankContext, way: str) -> str:
    topology = _topology(seat, "silent", way, SILENCE_S)
    said = _error_on_rank_0(seat, open_channel(topology))
    _until_rank_0_gave_up(seat, "silent", way)
    topology.close()
    return said


def _waiting(seat: RankContext, way: str) -> bool:
    """Whether the stack of a rank that waits for its peer says so."""
    topology = _topology(seat, "waiting", way)
    channel, found = open_channel(topology), []
    if seat.rank == STAGE0:
        watcher = threading.Thread(target=_watch, args=(threading.get_ident(), found, seat, way))
        watcher.start()
        channel.receive(torch.empty(1))
        watcher.join()
    else:
        seat.store.get(f"seen-{way}")
        channel.start_send([torch.ones(1)])()
    topology.close()
    return seat.rank != STAGE0 or bool(WAIT_FILES & set(found))


def _watch(thread: int, found: list[str], seat: RankContext, way: str) -> None:
    """The files of a thread's stack, once it has had time to come to where it waits."""
    time.sleep(SILENCE_S)
    found += [frame.filename for frame in traceback.extract_stack(sys._current_frames()[thread])]
    seat.store.set(f"seen-{way}", "")


def _not_taken(seat: RankContext, way: str) -> str:
    """More than fits is sent to a leader that takes nothing."""
    topology = _topology(seat, "not-taken", way, SILENCE_S)
    pipe, said = open_channel(topology), ""
    if seat.rank == STAGE0:
        try:
            pipe.start_send([torch.zeros(RING_BYTES + 1, dtype=torch.uint8)])()
        except MeshError as error:
            said = str(error)
    _until_rank_0_gave_up(seat, "not-taken", way)
    topology.close()
    return said


def _until_rank_0_gave_up(seat: RankContext, name: str, way: str) -> None:
    """The leader is alive until rank 0 has given up."""
    key = f"heard-{name}-{way}"
    if seat.rank == STAGE0:
        seat.store.set(key, "")
    else:
        seat.store.get(key)


def _files(seat: RankContext, way: str) -> int:
    """How many files stay open of a pipe that has been closed."""
    topology = _topology(seat, "files", way)
    gc.collect()  # what earlier acts have left
    before = _shared_files()
    memory = attach(topology.group("pp"), WAIT_S, "the peer")
    assert memory is not None
    memory.close()
    del memory  # what it looks at has a file, too
    left = _shared_files() - before
    topology.close()
    return left


def _shared_files() -> int:
    """Open files of the kinds that sharing memory takes; those of an earlier act's sockets may still be closing."""
    found = []
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found.append(str(file.readlink()))
    return sum(name.startswith(("pipe:", "/memfd:", "anon_inode:[pidfd]")) for name in found)


def _error_on_rank_0(seat: RankContext, pipe: Channel) -> str:
    if seat.rank != STAGE0:
        return ""
    try:
        MeshLink(pipe).receive()
    except MeshError as error:
        return str(error)
    return "nothing"


ACTS: dict[str, Callable[[RankContext, str], Any]] = {
    "exchange": _exchange,
    "bulk": _bulk,
    "crossing": _crossing,
    "broken": _broken,
    "silent": _silent,
    "waiting": _waiting,
    "not taken": _not_taken,
    "files": _files,
}
