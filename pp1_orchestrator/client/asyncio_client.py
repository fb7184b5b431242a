"""The HTTP interface for programs with an event loop."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from pp1_orchestrator.client import api_answers as answers
from pp1_orchestrator.client import api_calls as calls
from pp1_orchestrator.client.api_events import Event, read_events_async
from pp1_orchestrator.types import (
    Control,
    Cut,
    Interpolation,
    PromptReceipt,
    PromptUpdate,
    TimelineEntry,
    Transition,
    WeightedPrompt,
    update_of,
)


class AsyncClient:
    """`Client` for asyncio: each method is awaited, and `async with` closes it.

    Errors: RequestError with the server's line and status where it refuses; httpx.TransportError where nobody answers.

    Args:
        url: where the page is, such as http://localhost:7860.
        token: `serving.token`, or `serving.view_token` to watch only.
        http: an httpx client of one's own, for certificates, proxies or tests; it is closed with this one.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = calls.TIMEOUT_S,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._http = http or httpx.AsyncClient()
        self._http.base_url = url
        self._http.timeout = timeout_s
        self._http.headers.update(calls.headers_of(token))
        self.lease_key: str | None = None
        """Of this client's lease, from `claim_lease`; sent along with each request."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def state(self) -> answers.StreamState:
        return await self._call(calls.STATE)

    async def update_prompt(
        self,
        prompt: str | PromptUpdate | None = None,
        *,
        prompts: Sequence[WeightedPrompt] = (),
        blend: Interpolation = "linear",
        transition: Transition | None = None,
        cut: Cut = "soft",
    ) -> PromptReceipt:
        """Show something else. Events tell when it is seen."""
        update = update_of(prompt, prompts, blend, transition, cut)
        taken = await self._call(calls.PROMPT, update)
        return PromptReceipt(taken.id, taken.truncated, taken.read_chars)

    async def prompt_guide(self) -> answers.PromptGuide:
        return await self._call(calls.GUIDE)

    async def control(self, command: Control) -> answers.ControlAccepted:
        return await self._call(calls.CONTROL, command)

    async def pause(self) -> None:
        await self.control(Control("pause"))

    async def resume(self) -> None:
        await self.control(Control("resume"))

    async def hard_cut(self) -> None:
        await self.control(Control("hard_cut"))

    async def set_seed(self, seed: int) -> None:
        await self.control(Control("seed", seed))

    async def set_strength(self, strength: float) -> None:
        """How far chunks may leave their input, 0…1, from the next one on."""
        await self._call(calls.SOURCE, {"strength": strength})

    async def timeline(self) -> list[TimelineEntry]:
        """What is still to come."""
        return (await self._call(calls.PLANNED)).entries

    async def set_timeline(
        self, entries: Sequence[TimelineEntry], *, relative: bool = True
    ) -> answers.TimelineAccepted:
        """Replace what is planned. relative: chunk 0 is the next one that can still be planned."""
        return await self._call(calls.PLAN, {"entries": entries, "relative": relative})

    async def clear_timeline(self) -> None:
        await self._call(calls.CLEAR)

    async def recording(self) -> list[TimelineEntry]:
        return (await self._call(calls.RECORDING)).entries

    async def history(self) -> list[PromptUpdate]:
        return (await self._call(calls.HISTORY)).updates

    async def clips(self) -> list[answers.Clip]:
        return (await self._call(calls.CLIPS)).clips

    async def start_clip(self) -> answers.Clip:
        return await self._call(calls.RECORD, {"action": "start"})

    async def stop_clip(self) -> answers.Clip:
        """End the clip; returns when its file is complete."""
        return await self._call(calls.RECORD, {"action": "stop"})

    async def clip_file(self, clip_id: str) -> bytes:
        """A clip as MP4."""
        return await self._call(calls.CLIP_FILE, clip_id=clip_id)

    async def lease(self) -> answers.LeaseState:
        return await self._call(calls.HOLDER)

    async def claim_lease(self, action: str = "take", name: str | None = None) -> answers.Lease:
        """take, request or renew control of the stream. From then on requests are made as its holder."""
        named = {"action": action} if name is None else {"action": action, "name": name}
        own = await self._call(calls.CLAIM, named)
        self.lease_key = own.key
        return own

    async def release_lease(self) -> answers.LeaseState:
        now = await self._call(calls.RELEASE)
        self.lease_key = None
        return now

    async def hand_over_lease(self, to: str | None = None) -> answers.LeaseState:
        return await self._call(calls.HAND_OVER, {} if to is None else {"to": to})

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[AsyncIterator[Event]]:
        """Inside, what happens from now on. Ends with the server."""
        request = calls.request_of(self._http, calls.EVENTS)
        answer = await self._http.send(request, stream=True)
        try:
            if not answer.is_success:
                await answer.aread()
                calls.check(answer)
            lines = answer.aiter_lines()
            await anext(lines, None)  # it has begun: nothing is missed from here on
            yield read_events_async(lines)
        finally:
            await answer.aclose()

    async def share(self, page: str) -> answers.Share:
        """A link for viewers. page: the address below which the server is reached."""
        return await self._call(calls.SHARE, params={"page": page})

    async def watch_page(self) -> str:
        """HTML with the picture alone."""
        return await self._call(calls.WATCH_PAGE)

    async def viewer_servers(self) -> list[str]:
        """Link headers of the STUN and TURN servers that a WebRTC viewer should use."""
        return await self._call(calls.VIEWER_SERVERS)

    async def open_viewer(self, offer: str) -> answers.ViewerSession:
        """WHEP: an SDP offer in, an answer out."""
        return await self._call(calls.WATCH, offer)

    async def close_viewer(self, session: answers.ViewerSession) -> None:
        await self._call(calls.LEAVE, viewer_id=session.location.rpartition("/")[2])

    async def metrics(self) -> str:
        """Prometheus' text."""
        return await self._call(calls.METRICS)

    async def openapi(self) -> dict[str, Any]:
        return await self._call(calls.OPENAPI)

    async def ready(self) -> bool:
        """Whether chunks are being shown."""
        return await self._call(calls.READY)

    async def alive(self) -> bool:
        return await self._call(calls.ALIVE)

    async def _call(
        self,
        operation: calls.Operation[calls.T],
        body: object = None,
        params: Mapping[str, str] | None = None,
        **place: str,
    ) -> calls.T:
        request = calls.request_of(self._http, operation, body, params, self.lease_key, **place)
        return calls.read(operation, await self._http.send(request))
