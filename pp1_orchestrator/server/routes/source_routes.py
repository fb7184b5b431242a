"""The route of what comes in beside the text."""

from typing import Annotated, Any

from fastapi import APIRouter, Body

from pp1_orchestrator.server import schemas
from pp1_orchestrator.server.openapi import BODY_ERRORS, errors
from pp1_orchestrator.server.rate_limit import limited
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.types import StreamControl

STRENGTHS: Any = {"near": {"value": {"strength": 0.4}}, "far": {"value": {"strength": 0.9}}}


def source_routes(stream: StreamControl, may_change: Any) -> APIRouter:
    """The input's strength."""
    router = APIRouter(route_class=StrictRoute, tags=["stream"])
    changes: dict[str, Any] = {"dependencies": [may_change], "responses": errors(409, *BODY_ERRORS)}

    @router.post("/api/source", summary="Set the strength of the input", **changes)
    @limited("changes")
    async def source(
        update: Annotated[schemas.SourceUpdate, Body(openapi_examples=STRENGTHS)],
    ) -> schemas.SourceAccepted:
        """From the next chunk on. 409 where nothing comes in beside the text."""
        stream.set_strength(update.strength)
        return schemas.SourceAccepted(state="accepted", strength=update.strength)

    return router
