"""The HTTP interface for programs that wait for each answer."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from pp1_orchestrator.client import api_answers as answers
from pp1_orchestrator.client import api_calls as calls
from pp1_orchestrator.client.api_events import Event, read_events
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


class Client:
    """Asks a running stream. To be closed, or used with `with`; one thread at a time.

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
        http: httpx.Client | None = None,
    ) -> None:
        self._http = http or httpx.Client()
        self._http.base_url = url
        self._http.timeout = timeout_s
        self._http.headers.update(calls.headers_of(token))
        self.lease_key: str | None = None
        """Of this client's lease, from `claim_lease`; sent along with each request."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def state(self) -> answers.StreamState:
        return self._call(calls.STATE)

    def update_prompt(
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
        taken = self._call(calls.PROMPT, update)
        return PromptReceipt(taken.id, taken.truncated, taken.read_chars)

    def prompt_guide(self) -> answers.PromptGuide:
        return self._call(calls.GUIDE)

    def control(self, command: Control) -> answers.ControlAccepted:
        return self._call(calls.CONTROL, command)

    def pause(self) -> None:
        self.control(Control("pause"))

    def resume(self) -> None:
        self.control(Control("resume"))

    def hard_cut(self) -> None:
        self.control(Control("hard_cut"))

    def set_seed(self, seed: int) -> None:
        self.control(Control("seed", seed))

    def set_strength(self, strength: float) -> None:
        """How far chunks may leave their input, 0…1, from the next one on."""
        self._call(calls.SOURCE, {"strength": strength})

    def timeline(self) -> list[TimelineEntry]:
        """What is still to come."""
        return (self._call(calls.PLANNED)).entries

    def set_timeline(self, entries: Sequence[TimelineEntry], *, relative: bool = True) -> answers.TimelineAccepted:
        """Replace what is planned. relative: chunk 0 is the next one that can still be planned."""
        return self._call(calls.PLAN, {"entries": entries, "relative": relative})

    def clear_timeline(self) -> None:
        self._call(calls.CLEAR)

    def recording(self) -> list[TimelineEntry]:
        return (self._call(calls.RECORDING)).entries

    def history(self) -> list[PromptUpdate]:
        return (self._call(calls.HISTORY)).updates

    def clips(self) -> list[answers.Clip]:
        return (self._call(calls.CLIPS)).clips

    def start_clip(self) -> answers.Clip:
        return self._call(calls.RECORD, {"action": "start"})

    def stop_clip(self) -> answers.Clip:
        """End the clip; returns when its file is complete."""
        return self._call(calls.RECORD, {"action": "stop"})

    def clip_file(self, clip_id: str) -> bytes:
        """A clip as MP4."""
        return self._call(calls.CLIP_FILE, clip_id=clip_id)

    def lease(self) -> answers.LeaseState:
        return self._call(calls.HOLDER)

    def claim_lease(self, action: str = "take", name: str | None = None) -> answers.Lease:
        """take, request or renew control of the stream. From then on requests are made as its holder."""
        named = {"action": action} if name is None else {"action": action, "name": name}
        own = self._call(calls.CLAIM, named)
        self.lease_key = own.key
        return own

    def release_lease(self) -> answers.LeaseState:
        now = self._call(calls.RELEASE)
        self.lease_key = None
        return now

    def hand_over_lease(self, to: str | None = None) -> answers.LeaseState:
        return self._call(calls.HAND_OVER, {} if to is None else {"to": to})

    @contextmanager
    def events(self) -> Generator[Iterator[Event]]:
        """Inside, what happens from now on. Ends with the server."""
        request = calls.request_of(self._http, calls.EVENTS)
        answer = self._http.send(request, stream=True)
        try:
            if not answer.is_success:
                answer.read()
                calls.check(answer)
            lines = answer.iter_lines()
            next(lines, None)  # it has begun: nothing is missed from here on
            yield read_events(lines)
        finally:
            answer.close()

    def share(self, page: str) -> answers.Share:
        """A link for viewers. page: the address below which the server is reached."""
        return self._call(calls.SHARE, params={"page": page})

    def watch_page(self) -> str:
        """HTML with the picture alone."""
        return self._call(calls.WATCH_PAGE)

    def viewer_servers(self) -> list[str]:
        """Link headers of the STUN and TURN servers that a WebRTC viewer should use."""
        return self._call(calls.VIEWER_SERVERS)

    def open_viewer(self, offer: str) -> answers.ViewerSession:
        """WHEP: an SDP offer in, an answer out."""
        return self._call(calls.WATCH, offer)

    def close_viewer(self, session: answers.ViewerSession) -> None:
        self._call(calls.LEAVE, viewer_id=session.location.rpartition("/")[2])

    def metrics(self) -> str:
        """Prometheus' text."""
        return self._call(calls.METRICS)

    def openapi(self) -> dict[str, Any]:
        return self._call(calls.OPENAPI)

    def ready(self) -> bool:
        """Whether chunks are being shown."""
        return self._call(calls.READY)

    def alive(self) -> bool:
        return self._call(calls.ALIVE)

    def _call(
        self,
        operation: calls.Operation[calls.T],
        body: object = None,
        params: Mapping[str, str] | None = None,
        **place: str,
    ) -> calls.T:
        request = calls.request_of(self._http, operation, body, params, self.lease_key, **place)
        return calls.read(operation, self._http.send(request))
