"""Routes of the control lease: who has it, taking it, asking for it, handing it over."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server import schemas
from pp1_orchestrator.server.control_lease import ControlLease
from pp1_orchestrator.server.openapi import BODY_ERRORS, errors
from pp1_orchestrator.server.rate_limit import limited
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.server.server_settings import Limits

HEADER = "PP1-Lease"
COMMANDS: Any = {"take": {"value": {"action": "take", "name": "Ann"}}, "request": {"value": {"action": "request"}}}
HEIRS: Any = {"the client that has waited longest": {"value": {}}}
OwnKey = Annotated[str | None, Header(alias=HEADER, description="Your key, if you have one")]
HolderKey = Annotated[
    str | None, Header(alias=HEADER, description="The key from /api/lease; required while a client holds control")
]


def may_change(lease: ControlLease) -> Any:
    """A dependency for every route that changes what all viewers see: 409 unless the client holds control or nobody
    does. Each change renews the lease."""

    async def check(key: HolderKey = None) -> None:
        lease.check(key)

    return Depends(check)


def lease_routes(lease: ControlLease, limits: Limits) -> APIRouter:
    """Control of the stream."""
    router = APIRouter(route_class=StrictRoute, prefix="/api/lease", tags=["control"])

    @router.get("", summary="Who holds control")
    async def holder() -> schemas.LeaseState:
        """/api/state has the same, and an event at /api/events reports each change."""
        return lease.state()

    @router.post("", summary="Take control, ask for it, keep it", responses=errors(409, 503, *BODY_ERRORS))
    @limited("changes")
    async def claim(
        command: Annotated[schemas.LeaseCommand, Body(openapi_examples=COMMANDS)], key: OwnKey = None
    ) -> schemas.Lease:
        """While a client holds control, every change of the stream needs its key in the header PP1-Lease. The lease
        expires when it is not renewed; each change renews it."""
        if command.action == "renew":
            return lease.renew(key, _name(command.name, limits))
        act = {"take": lease.take, "request": lease.request}[command.action]
        return act(key, _name(command.name, limits))

    @router.delete("", summary="Give control back", responses=errors(408, 409, 413, 429))
    @limited("changes")
    async def release(key: OwnKey = None) -> schemas.LeaseState:
        """Also ends waiting for it. The client that has waited longest gets control."""
        lease.release(key)
        return lease.state()

    @router.post("/handover", summary="Hand control over", responses=errors(409, *BODY_ERRORS))
    @limited("changes")
    async def hand_over(
        command: Annotated[schemas.HandOver, Body(openapi_examples=HEIRS)], key: OwnKey = None
    ) -> schemas.LeaseState:
        """To a client that waits for it."""
        lease.hand_over(key, command.to)
        return lease.state()

    return router


def _name(given: str | None, limits: Limits) -> str | None:
    """A name on one line, without characters that can't be seen. Raises RequestError when it is empty or too long."""
    if given is None:
        return None
    name = "".join(filter(str.isprintable, " ".join(given.split())))
    if not name or len(name) > limits.name_chars:
        raise RequestError(f"name has {len(name)} characters; 1 to {limits.name_chars} are allowed")
    return name
