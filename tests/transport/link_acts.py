"""What rank 0 and a leader do in a test: exchange messages, break one, fall silent, go away."""

from __future__ import annotations

import dataclasses

import torch

from pp1_orchestrator.contract import PPResultV2, Result, wire
from pp1_orchestrator.contract.result import LATENTS_OUT
from pp1_orchestrator.contract.versions import LATEST
from pp1_orchestrator.errors import ContractError, MeshError
from pp1_orchestrator.transport.groups import STAGE0, PeerPipe
from pp1_orchestrator.transport.link import DistLink
from pp1_orchestrator.transport.messages import receive_message, send_parcel
from tests.transport.envelopes_made import first_chunk
from tests.transport.world import Report, Seat

CPU = torch.device("cpu")
LATENTS = torch.arange(1 * 3 * 4 * 4 * 6, dtype=torch.float32).view(1, 3, 4, 4, 6)
EMBEDS = torch.linspace(-1, 1, 7 * 24, dtype=torch.bfloat16).view(1, 7, 24)
SILENCE_S = 0.5


def act(seat: Seat) -> Report:
    return {"exchange": _exchange(seat), "broken": _broken(seat), "silent": _silent(seat), "gone": _gone(seat)}


def _exchange(seat: Seat) -> Report:
    """Rank 0 asks, the leader answers with the latents doubled."""
    topology = seat.topology("exchange", 1)
    pipe = PeerPipe(topology)
    if seat.rank == STAGE0:
        link = DistLink(pipe, LATEST)
        sending = link.start_send(wire.pack_envelope(first_chunk(LATENTS, EMBEDS)))
        sending.wait()
        received = link.receive()
        same = torch.equal(received.message.tensors[LATENTS_OUT], 2 * LATENTS)
    else:
        received = receive_message(pipe.receive, CPU)
        sent = first_chunk(LATENTS, EMBEDS)
        found = received.message
        same = found.meta == sent.meta and all(torch.equal(found.tensors[n], t) for n, t in sent.tensors.items())
        answer = PPResultV2(call_id=1, chunk_index=0, cache_epoch=0, ok=True)
        parcel = wire.pack_result(Result(answer, {LATENTS_OUT: 2 * LATENTS}))
        send_parcel(parcel, pipe.send)
    topology.close()
    return {"same": same, "nbytes": received.nbytes, "in_order": received.header_ns <= received.done_ns}


def _broken(seat: Seat) -> str:
    """The leader sends a broken header and nothing more: whoever waited for the rest would wait in vain."""
    topology = seat.topology("broken", 1)
    pipe, said = PeerPipe(topology), ""
    if seat.rank == STAGE0:
        try:
            DistLink(pipe, LATEST).receive()
        except ContractError as error:
            said = str(error)
    else:
        parcel = wire.pack_envelope(first_chunk(LATENTS, EMBEDS))
        pipe.send(dataclasses.replace(parcel, header=parcel.header + 1).header)
    topology.close()
    return said


def _silent(seat: Seat) -> str:
    topology = seat.topology("silent", 1, message_s=SILENCE_S)
    said = _what_rank_0_hears(seat, PeerPipe(topology))
    if seat.rank == STAGE0:
        seat.store.set("heard", said)
    else:
        seat.store.get("heard")  # alive until rank 0 has given up
    topology.close()
    return said


def _gone(seat: Seat) -> str:
    """The leader's process ends here, without a word."""
    return _what_rank_0_hears(seat, PeerPipe(seat.topology("gone", 1)))


def _what_rank_0_hears(seat: Seat, pipe: PeerPipe) -> str:
    if seat.rank != STAGE0:
        return ""
    try:
        DistLink(pipe, LATEST).receive()
    except MeshError as error:
        return str(error)
    return "nothing"
