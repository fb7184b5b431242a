"""What the stream does, and changing it at once."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.control_lease import Leases
from pp1_orchestrator.server.describe import BODY, gives, refuses, takes
from pp1_orchestrator.server.requests import read_json
from pp1_orchestrator.server.responses import UNSTORED, json_reply
from pp1_orchestrator.server.routes.clip_routes import Clips
from pp1_orchestrator.server.routes.whep_routes import Peers
from pp1_orchestrator.server.schemas import ControlAccepted, PromptAccepted, StreamState
from pp1_orchestrator.server.server_settings import Limits
from pp1_orchestrator.types import MAX_SEED, Control, PromptUpdate, StreamControl

PROMPTS = {
    "prompt": {"prompt": "a red circle moving left on a blue background"},
    "blend": {
        "prompts": [{"text": "a red circle on a black background"}, {"text": "a blue circle on a black background"}],
        "blend": "slerp",
        "transition": {"steps": 8, "method": "linear"},
    },
}
ONE_OF_BOTH = {
    "oneOf": [
        {"required": ["prompt"], "properties": {"prompt": {"type": "string"}}},
        {"required": ["prompts"], "properties": {"prompts": {"minItems": 1}}},
    ]
}
COMMANDS = {"pause": {"action": "pause"}, "seed": {"action": "seed", "value": 7}}
ONLY_A_SEED_HAS_A_VALUE = {
    "oneOf": [
        {"required": ["value"], "properties": {"action": {"enum": ["seed"]}, "value": {"type": "integer"}}},
        {"properties": {"action": {"enum": ["pause", "resume", "hard_cut"]}, "value": {"type": "null"}}},
    ]
}


def stream_routes(stream: StreamControl, peers: Peers, clips: Clips, leases: Leases, limits: Limits) -> APIRouter:
    """State, prompt, control."""
    router = APIRouter(default_response_class=Response, tags=["stream"])

    @router.get("/api/state", summary="The stream as it is now", responses=gives(StreamState, "The state"))
    async def state() -> Response:
        """Configuration, prompt, seed, figures and processes."""
        around = {"viewers": peers.count, "clip": clips.newest(), "lease": leases.state()}
        return json_reply(stream.state() | around, headers=UNSTORED)

    @router.post(
        "/api/prompt",
        summary="Show something else",
        openapi_extra=takes(PromptUpdate, PROMPTS, ONE_OF_BOTH),
        responses=gives(PromptAccepted, "Taken; its receipts follow at /api/events") | refuses(*BODY),
    )
    async def prompt(request: Request) -> Response:
        """Either one `prompt` or several weighted `prompts`, at once or over some chunks. The answer comes first."""
        update = await read_json(request, PromptUpdate)
        check_prompts(update, limits)
        receipt = stream.update_prompt(update)
        return json_reply(PromptAccepted(receipt.id, receipt.truncated))

    @router.post(
        "/api/control",
        summary="Pause, resume, cut, or set the seed",
        openapi_extra=takes(Control, COMMANDS, ONLY_A_SEED_HAS_A_VALUE),
        responses=gives(ControlAccepted, "Taken") | refuses(*BODY),
    )
    async def control(request: Request) -> Response:
        """A new seed cuts, too: the history is forgotten."""
        command = await read_json(request, Control)
        check_control(command)
        stream.control(command)
        return json_reply(ControlAccepted(command.action))

    return router


def check_prompts(update: PromptUpdate, limits: Limits) -> None:
    """Raises RequestError when there is nothing to show, or too much."""
    texts = [weighted.text for weighted in update.prompts]
    texts += [] if update.prompt is None else [update.prompt]
    if not texts:
        raise RequestError("prompt is missing: give prompt or prompts")
    if len(texts) > limits.prompts:
        raise RequestError(f"prompts has {len(texts)} entries, at most {limits.prompts}")
    for text in texts:
        if not text.strip():
            raise RequestError(f"prompt is empty; 1 to {limits.prompt_chars} characters are taken")
        if len(text) > limits.prompt_chars:
            raise RequestError(f"prompt has {len(text)} characters, at most {limits.prompt_chars}")


def check_control(command: Control) -> None:
    """Raises RequestError for a seed without a usable value, or a value without a seed."""
    if command.action != "seed":
        if command.value is not None:
            raise RequestError(f"value={command.value} has no meaning for action={command.action}, only for seed")
    elif command.value is None:
        raise RequestError(f"value is missing: action=seed needs one from 0 to {MAX_SEED}")
    elif not 0 <= command.value <= MAX_SEED:
        raise RequestError(f"value is {command.value}; a seed is a whole number from 0 to {MAX_SEED}")
