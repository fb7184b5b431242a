"""What ranks do to their sums and exchanges in a test: many in a row, of many kinds; then one of them goes silent."""

import os
import resource
from collections.abc import Callable

import torch
from torch import Tensor

from pp1_orchestrator.errors import PeerError
from pp1_orchestrator.transport.process_groups import LEADER, STAGE0, MeshShard, Topology
from pp1_orchestrator.transport.shared_collectives import SLOT_BYTES, SharedMemoryCollectives, attach
from tests.transport.world import WAIT_S, RankContext, Report

MESH, ROUNDS, SILENT_S = 3, 300, 0.5
LARGE = SLOT_BYTES // 30
"""Tokens of an exchange that no slot holds."""
KINDS = [((2, 5), torch.float32), ((7,), torch.bfloat16), ((1, 192, 192), torch.float32), ((3, 1), torch.int64)]


def act(seat: RankContext) -> Report:
    topology = seat.topology("sums", MESH)
    report = {} if seat.rank == STAGE0 else _sum(seat, topology)
    topology.close()
    return report


def _sum(seat: RankContext, topology: Topology) -> Report:
    crowded = _meet_without_files(topology) if seat.rank == MESH else attach(topology.group("mesh"), WAIT_S)
    sums, impatient = attach(topology.group("mesh"), WAIT_S), attach(topology.group("mesh"), SILENT_S)
    if sums is None or impatient is None:
        return {"crowded": crowded is None}
    report: Report = {"crowded": crowded is None, "wrong": [n for n in range(ROUNDS) if not _right(sums, seat.rank, n)]}
    shard = MeshShard(topology)
    turned = torch.arange(6.0).view(2, 3).t()
    report["turned"] = shard.all_reduce(turned).tolist()
    report["exchanged"] = [n for n in range(ROUNDS // 10) if not _exchanged(sums.all_to_all, seat.rank, n)]
    report["exchanged by shard"] = [n for n in range(3) if not _exchanged(shard.all_to_all, seat.rank, n)]
    report["exchanged by gloo"] = _exchanged(shard.all_to_all, seat.rank, 0, LARGE)
    report["silent"] = "" if seat.rank > LEADER else _silence(impatient)
    shard.broadcast(torch.zeros(1))  # whoever was silent has not ended meanwhile
    return report


def _meet_without_files(topology: Topology) -> SharedMemoryCollectives | None:
    """Where this process may open no more of them than a pipe of its own."""
    allowed, last = resource.getrlimit(resource.RLIMIT_NOFILE)
    own = os.pipe()
    for file in own:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(own) + 1, last))
    try:
        return attach(topology.group("mesh"), WAIT_S)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, last))


def _right(sums: SharedMemoryCollectives, rank: int, number: int) -> bool:
    """One sum of a kind that changes from one to the next."""
    shape, dtype = KINDS[number % len(KINDS)]
    values = torch.full(shape, rank + number % 8).to(dtype)
    sums.all_reduce_(values)
    return torch.equal(values, torch.full(shape, sum(range(LEADER, MESH + 1)) + MESH * (number % 8)).to(dtype))


def _sent(source: int, target: int, number: int, tensor: int, tokens: int) -> Tensor:
    """What one rank sends to another in an exchange: its tensors differ in shape, and no two of them are equal."""
    return torch.arange(float(tokens * (tensor + 2))).view(tokens, -1) + 1000 * source + 100 * target + 10 * number


def _exchanged(exchange: Callable[..., None], rank: int, number: int, tokens: int = 5) -> bool:
    """One exchange of two tensors that don't lie in one piece."""
    own, ranks = rank - LEADER, range(MESH)
    send = [torch.stack([_sent(own, p, number, i, tokens) for p in ranks], 1).transpose(0, 1) for i in range(2)]
    receive = [torch.full((tokens, MESH, i + 2), -1.0).transpose(0, 1) for i in range(2)]
    exchange(send, receive)
    return all(torch.equal(receive[i][p], _sent(p, own, number, i, tokens)) for i in range(2) for p in ranks)


def _silence(sums: SharedMemoryCollectives) -> str:
    try:
        sums.all_reduce_(torch.zeros(1))
    except PeerError as error:
        return str(error)
    return "nothing"
