"""Both clients against a listening server, by the same tests; the one for asyncio is driven by a loop of the test's."""

import asyncio
import contextlib
import inspect
import subprocess
import sys

import httpx
import pytest

from pp1_orchestrator.client import AsyncClient, Client, PromptUpdate, TimelineEntry, Transition, WeightedPrompt
from pp1_orchestrator.client.api_calls import OPERATIONS
from pp1_orchestrator.client.api_events import PromptAcceptedEvent, read_event
from pp1_orchestrator.errors import RequestError
from tests.fault.sdp_offers import seeds
from tests.server.conftest import Listening, build

TOKEN = "a token for the clients, s€cret"


class Driven:
    """An AsyncClient with the methods of Client."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name):
        found = getattr(self._client, name)
        if not inspect.ismethod(found):
            return found

        def call(*args, **options):
            async def awaited():
                return await found(*args, **options)

            return self._runner.run(awaited())

        return call

    @contextlib.contextmanager
    def events(self):
        context = self._client.events()
        events = self._runner.run(context.__aenter__())

        async def next_event():
            return await anext(events, None)

        try:
            yield iter(lambda: self._runner.run(next_event()), None)
        finally:
            self._runner.run(context.__aexit__(None, None, None))


@pytest.fixture(params=[Client, AsyncClient], ids=["plain", "asyncio"])
def connect(request):
    """Makes a client of one kind for an address."""
    with contextlib.ExitStack() as opened:

        def make(url: str, **options):
            if request.param is Client:
                return opened.enter_context(Client(url, **options))
            runner = opened.enter_context(asyncio.Runner())
            client = AsyncClient(url, **options)
            opened.callback(lambda: runner.run(client.aclose()))
            return Driven(client, runner)

        yield make


@pytest.fixture
def served(connect):
    """A client, and the paths that the server was asked for."""
    parts = build(token=TOKEN)
    asked: list[tuple[str, str]] = []

    async def noted(scope, receive, send):
        if scope["type"] == "http":
            asked.append((scope["method"], scope["path"]))
        await parts.app(scope, receive, send)

    noted.state = parts.app.state  # the server drains it at its end
    server = Listening(noted)
    yield connect(server.url, token=TOKEN), asked
    assert server.stop()


def test_every_operation_gets_its_answer(served):
    client, asked = served
    assert (client.alive(), client.state().may_change) == (True, True)
    assert isinstance(client.ready(), bool)
    client.set_strength(0.5)
    source = client.state().source
    assert source is not None
    assert (source.strength, source.state) == (0.5, "playing")
    assert client.update_prompt("a red circle", transition=Transition(4)).id
    blend = PromptUpdate(prompts=(WeightedPrompt("a"), WeightedPrompt("b", 2.0)))
    assert client.update_prompt(blend).truncated is False
    assert isinstance(client.prompt_guide().words, list)
    client.pause()
    client.resume()
    client.hard_cut()
    client.set_seed(7)
    entries = [TimelineEntry(chunk=3, prompt="a star"), TimelineEntry(chunk=9, cut="hard")]
    assert client.set_timeline(entries).entries == 2
    assert isinstance(client.timeline(), list)
    client.clear_timeline()
    assert isinstance(client.recording(), list)
    assert isinstance(client.history(), list)
    clip = client.start_clip()
    assert client.stop_clip().id == clip.id
    assert [kept.id for kept in client.clips()] == [clip.id]
    assert b"ftyp" in client.clip_file(clip.id)[:16]
    assert client.claim_lease(name="Ann").holds
    assert client.claim_lease("renew").key == client.lease_key
    holder = client.lease().holder
    assert holder is not None
    assert holder.name == "Ann"
    with pytest.raises(RequestError, match="wait"):
        client.hand_over_lease()
    assert client.release_lease().holder is None
    assert client.share("http://example.org/").link.startswith("http://example.org/watch")
    assert isinstance(client.watch_page(), str)
    assert isinstance(client.viewer_servers(), list)
    session = client.open_viewer(seeds()[0])
    assert session.answer
    client.close_viewer(session)
    assert client.metrics().startswith("#")
    assert client.openapi()["openapi"].startswith("3.1")
    with client.events() as events:
        update = client.update_prompt("a blue star").id
        accepted = next(events)
        assert isinstance(accepted, PromptAcceptedEvent)
        assert (accepted.update, accepted.prompt) == (update, "a blue star")
    paths = {(operation.method, operation.path.partition("{")[0]) for operation in OPERATIONS}
    missing = [
        route for route in paths if not any(verb == route[0] and seen.startswith(route[1]) for verb, seen in asked)
    ]
    assert missing == []


def test_a_refusal_is_the_server_s_line_with_its_status(served):
    client, _ = served
    for call, status, line in (
        (lambda: client.update_prompt(""), 422, "prompt"),
        (lambda: client.set_seed(-1), 422, "value"),
        (lambda: client.clip_file("../c0"), 404, "clip"),
        (lambda: client.hand_over_lease("nobody"), 409, "control"),
    ):
        with pytest.raises(RequestError, match=line) as refused:
            call()
        assert refused.value.status == status
        assert "\n" not in str(refused.value)


def test_a_wrong_token_and_an_absent_server_are_told(served, connect):
    client, _ = served
    url = str(client._http.base_url).rstrip("/")
    with pytest.raises(RequestError) as refused:
        connect(url, token="wrong").state()
    assert refused.value.status == 401
    with pytest.raises(RequestError) as refused, connect(url).events():
        pass
    assert refused.value.status == 401
    with pytest.raises(httpx.TransportError):
        connect("http://127.0.0.1:9", timeout_s=5.0).state()


def test_an_answer_of_something_else_is_refused_in_one_line(connect):
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502, html="<h1>Bad gateway</h1>")

    transport = httpx.MockTransport(answer)
    with Client("http://example.org/pp1", http=httpx.Client(transport=transport)) as client:
        with pytest.raises(RequestError, match=r"^GET /pp1/api/state: 502 Bad Gateway$"):
            client.state()
        assert not client.ready()


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'{"prompt": "\xff"}'], ids=["page", "other", "bytes"])
def test_so_is_one_that_a_page_or_another_program_gives(content):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    with Client("http://example.org", http=httpx.Client(transport=transport)) as client:
        with pytest.raises(RequestError, match=r"^GET /api/state: the answer is not one of this program: .+$"):
            client.state()
        with pytest.raises(RequestError, match=r"^POST /whep: the answer is not one of this program: "):
            client.open_viewer(seeds()[0])


@pytest.mark.parametrize("said", ["", ": here\n\n"], ids=["nothing", "one line"])
def test_events_of_a_server_that_ends_at_once_are_none(said):
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=said))

    async def awaited() -> list:
        http = httpx.AsyncClient(transport=transport)
        async with AsyncClient("http://example.org", http=http) as client, client.events() as events:
            return [event async for event in events]

    with Client("http://example.org", http=httpx.Client(transport=transport)) as client, client.events() as events:
        assert list(events) == asyncio.run(awaited()) == []


def test_an_event_that_only_a_newer_server_knows_is_left_out():
    assert read_event('data: {"event": "rewound", "id": 1, "at": 0}') is None
    assert read_event(": still here") is None
    known = 'data: {"event": "control", "id": 1, "at": 0, "action": "pause", "value": null, "new": 1}'
    assert read_event(known) is not None


def test_the_client_needs_no_torch():
    code = "import sys, pp1_orchestrator.client; print(*sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240).stdout
    assert {"torch", "numpy", "hydra", "gradio", "fastapi"} & set(said.split()) == set()
