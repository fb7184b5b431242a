"""Routes of the running stream: its state, prompts and commands."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from pp1_orchestrator import types
from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.clips import ClipRecorder
from pp1_orchestrator.server import schemas
from pp1_orchestrator.server.auth import may_change as may_change_anything
from pp1_orchestrator.server.control_lease import ControlLease
from pp1_orchestrator.server.openapi import BODY_ERRORS, errors
from pp1_orchestrator.server.rate_limit import limited
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.server.state_schemas import StreamState
from pp1_orchestrator.types import MAX_SEED, StreamControl

PLAIN = {"prompt": "a red circle moving left on a blue background"}
BLEND = {
    "prompts": [{"text": "a red circle on a black background"}, {"text": "a blue circle on a black background"}],
    "blend": "slerp",
    "transition": {"steps": 8, "method": "linear"},
}
PROMPTS: Any = {"prompt": {"value": PLAIN}, "blend": {"value": BLEND}}
COMMANDS: Any = {"pause": {"value": {"action": "pause"}}, "seed": {"value": {"action": "seed", "value": 7}}}


def stream_routes(
    stream: StreamControl, viewer_count: Callable[[], int], clips: ClipRecorder, lease: ControlLease, may_change: Any
) -> APIRouter:
    """State, prompt, control."""
    router = APIRouter(route_class=StrictRoute, tags=["stream"])
    changes: dict[str, Any] = {"dependencies": [may_change], "responses": errors(409, *BODY_ERRORS)}

    @router.get(
        "/api/state",
        summary="The stream as it is now",
        response_model=StreamState,
        response_model_exclude_unset=True,
    )
    async def state(request: Request) -> dict[str, Any]:
        """Configuration, prompt, seed, figures and processes."""
        here = {"viewers": viewer_count(), "clip": clips.newest(), "lease": lease.state()}
        return stream.state() | here | {"may_change": may_change_anything(request)}

    prompts: dict[str, Any] = changes | {"responses": errors(409, 503, *BODY_ERRORS)}

    @router.post("/api/prompt", summary="Show something else", response_model_exclude_defaults=True, **prompts)
    @limited("prompts")
    async def prompt(
        update: Annotated[schemas.PromptUpdate, Body(openapi_examples=PROMPTS)],
    ) -> schemas.PromptAccepted:
        """Either one `prompt` or several weighted `prompts`, with the next chunk or over some chunks. The response does
        not wait for the new prompt to be visible; events at /api/events report that."""
        receipt = stream.update_prompt(update.convert(types.PromptUpdate))
        return schemas.PromptAccepted(
            state="accepted", id=receipt.id, truncated=receipt.truncated, read_chars=receipt.read_chars
        )

    @router.get("/api/prompt/guide", summary="What the model understands")
    async def guide() -> schemas.PromptGuide:
        """From `prompt_guide.json` beside the model's parts. Does not change while the stream runs."""
        known = stream.prompt_guide()
        return schemas.PromptGuide(summary=known.summary, words=list(known.words))

    @router.post("/api/control", summary="Pause, resume, cut, or set the seed", **changes)
    @limited("changes")
    async def control(
        command: Annotated[schemas.Control, Body(openapi_examples=COMMANDS)],
    ) -> schemas.ControlAccepted:
        """A new seed is also a hard cut: the history is dropped."""
        if command.action != "seed" and command.value is not None:
            raise RequestError(f"value={command.value} has no meaning for action={command.action}, only for seed")
        if command.action == "seed" and command.value is None:
            raise RequestError(f"value is missing: action=seed needs one from 0 to {MAX_SEED}")
        stream.control(command.convert(types.Control))
        return schemas.ControlAccepted(state="accepted", action=command.action)

    return router
