"""Holding control of the stream, asking for it, and handing it over."""

from __future__ import annotations

from typing import Literal

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.control_lease import HEADER, LEASE, Leases
from pp1_orchestrator.server.describe import BODY, STRING, gives, refuses, takes
from pp1_orchestrator.server.requests import read_json
from pp1_orchestrator.server.responses import UNSTORED, json_reply
from pp1_orchestrator.server.schemas import Lease, LeaseState
from pp1_orchestrator.server.server_settings import Limits

COMMANDS = {"take": {"action": "take", "name": "Ann"}, "request": {"action": "request"}}
HEIRS = {"whoever waits longest": {}}
KEY = {
    "parameters": [{"name": HEADER, "in": "header", "description": "Your key, where you have one", "schema": STRING}]
}


class LeaseCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """take: hold control, if nobody else does; request: wait for it, and have it as soon as it is free or handed over;
    renew: still here. name: what others see, of a client that is new.
    """

    action: Literal["take", "request", "renew"]
    name: str | None = None


class HandOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """to: the id of a client that waits; without it the one that waits longest."""

    to: str | None = None


def lease_routes(leases: Leases, limits: Limits) -> APIRouter:
    """Control of the stream."""
    router = APIRouter(default_response_class=Response, tags=["control"])

    @router.get(LEASE, summary="Who holds control", responses=gives(LeaseState, "Who does, and who waits"))
    async def holder() -> Response:
        """The same is in /api/state, and each change is told at /api/events."""
        return json_reply(leases.state(), headers=UNSTORED)

    @router.post(
        LEASE,
        summary="Take control, ask for it, keep it",
        openapi_extra=takes(LeaseCommand, COMMANDS) | KEY,
        responses=gives(Lease, "Your place and your key") | refuses(409, 503, *BODY),
    )
    async def claim(request: Request) -> Response:
        """While somebody holds control, whatever changes the stream needs its key in the header PP1-Lease. It expires
        after some silence; each change renews it, too."""
        command, key = await read_json(request, LeaseCommand), request.headers.get(HEADER)
        if command.action == "renew":
            return json_reply(leases.renew(key))
        act = {"take": leases.take, "request": leases.request}[command.action]
        return json_reply(act(key, _name(command.name, limits)))

    @router.delete(
        LEASE,
        summary="Give control back",
        openapi_extra=KEY,
        responses=gives(LeaseState, "Who holds it now") | refuses(408, 409, 413, 429),
    )
    async def release(request: Request) -> Response:
        """Or wait for it no more. Whoever waits longest has it next."""
        leases.release(request.headers.get(HEADER))
        return json_reply(leases.state())

    @router.post(
        f"{LEASE}/handover",
        summary="Hand control over",
        openapi_extra=takes(HandOver, HEIRS) | KEY,
        responses=gives(LeaseState, "Who holds it now") | refuses(409, *BODY),
    )
    async def hand_over(request: Request) -> Response:
        """To a client that waits for it."""
        command = await read_json(request, HandOver)
        leases.hand_over(request.headers.get(HEADER), command.to)
        return json_reply(leases.state())

    return router


def _name(given: str | None, limits: Limits) -> str | None:
    """A name in one line. Raises RequestError for one that is none."""
    if given is None:
        return None
    name = " ".join(given.split())
    if not name or len(name) > limits.name_chars:
        raise RequestError(f"name has {len(name)} characters; 1 to {limits.name_chars} are taken")
    return name
