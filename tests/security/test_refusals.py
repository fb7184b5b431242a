"""A request that is refused changes nothing: no state, plan, clip, lease, seed or cut, and no event."""

import dataclasses
import itertools
import shutil
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.media.whep import WhepPeers
from pp1_orchestrator.server.app import create_app
from pp1_orchestrator.server.server_settings import ServerSettings
from pp1_orchestrator.types import Control
from tests.server.conftest import LIMITS, make_clips
from tests.server.fakes import CountedPeers
from tests.system.in_process import open_stream

RED = {"prompt": "a red circle"}
ROUTES = {
    ("POST", "/api/prompt"): [
        {}, {"prompt": ""}, {"prompt": "a" * 2001}, {"prompt": 1}, RED | {"mood": "b"}, RED | {"cut": "deep"},
        RED | {"transition": {"steps": -1}}, RED | {"transition": {"steps": 10**9}}, RED | {"blend": "slerp"},
        RED | {"prompts": [{"text": "b"}]}, {"prompts": [{"text": "a", "weight": -1}]}, {"prompts": []},
        {"prompts": [{"text": "a", "weight": "NaN"}]}, {"prompts": [{"text": "a"}] * 9}, "a red circle", [RED], None,
    ],
    ("POST", "/api/control"): [
        {}, {"action": "stop"}, {"action": "seed"}, {"action": "seed", "value": -1}, {"action": "seed", "value": 2**31},
        {"action": "seed", "value": 1.5}, {"action": "resume", "value": 1}, {"action": "hard_cut", "value": 1}, None,
    ],
    ("POST", "/api/source"): [
        {}, {"strength": 0.5}, {"strength": 1.5}, {"strength": -0.1}, {"strength": "0.5"}, {"strength": None}, None,
    ],
    ("PUT", "/api/timeline"): [
        {}, {"entries": {}}, {"entries": [{"chunk": 0}]}, {"entries": [{"chunk": -1, **RED}]},
        {"entries": [{"chunk": 4, **RED}, {"chunk": 2**31, **RED}]}, {"entries": [{"chunk": 2**31 - 1, **RED}]},
        {"entries": [{"chunk": 4, **RED}, {"chunk": 4, **RED}]}, {"entries": [{"chunk": 4, "cut": "recache"}]},
        {"entries": [{"chunk": 10**6, "cut": "hard", "dropped": 10**6}]}, {"entries": [{"chunk": 4, "seed": -1}]},
        {"entries": [{"chunk": 0, **RED}], "relative": False}, {"entries": [{"chunk": 4, **RED}], "relative": 1},
        {"entries": [{"chunk": 4, **RED}, {"chunk": 5, "prompt": " "}]}, None,
    ],
    ("POST", "/api/clips"): [{}, {"action": "start"}, {"action": "stop"}, {"action": "delete"}, None],
    ("POST", "/api/lease"): [{}, {"action": "give"}, {"action": "take"}, {"action": "take", "name": "x" * 41}, None],
    ("POST", "/api/lease/handover"): [{"to": "v9"}, {"to": None}, {"to": 1}, None],
    ("DELETE", "/api/lease"): [None],
    ("POST", "/whep"): [{}, None],
}  # fmt: skip
MAY = [("POST", "/api/lease", {"action": "take"}), ("DELETE", "/api/lease", None)]
"""Who holds control may do that."""
OTHERS = [(*route, body) for route, bodies in ROUTES.items() for body in bodies]
REFUSED = [(True, *asked) for asked in OTHERS if asked not in MAY] + [(False, *asked) for asked in OTHERS]


@pytest.fixture(scope="module")
def paused(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A stream in this process that is paused, with a plan, a lease, and two clips that use up all places for clips."""
    with open_stream("run.chunks=100000") as run:
        events = run.instruments.events
        clips = make_clips(tmp_path_factory.mktemp("clips"), events, kept=2)
        peers = cast(WhepPeers, CountedPeers(places=0))
        settings = ServerSettings(limits=dataclasses.replace(LIMITS, lease_s=3600))
        app = create_app(run.session, peers, clips, events, run.instruments.metrics.registry, settings)
        with TestClient(app, base_url="http://127.0.0.1:7860") as client:
            run.session.start()
            while run.session.state()["chunk"] < 2:
                time.sleep(0.01)
            run.session.control(Control("pause"))
            while run.stream._pipeline.in_flight:
                time.sleep(0.01)
            key = client.post("/api/lease", json={"action": "take"}).json()["key"]
            holder = {"PP1-Lease": key}
            entries = [{"chunk": 40, **RED}]
            assert client.put("/api/timeline", json={"entries": entries}, headers=holder).status_code == 200
            for action in ("start", "stop") * 2:
                assert client.post("/api/clips", json={"action": action}, headers=holder).status_code == 200
            yield SimpleNamespace(run=run, client=client, holder=holder, heard=events.subscribe(lambda: None))


def everything(paused: SimpleNamespace) -> dict[str, Any]:
    """All that a client sees, all that the next chunk would take along, and what has been reported since."""
    paths = ("/api/state", "/api/timeline", "/api/recording", "/api/clips", "/api/lease")
    seen: dict[str, Any] = {path: paused.client.get(path).json() for path in paths}
    seen["/api/state"] |= {"ranks": None}
    requests = paused.run.session._parts.requests
    waiting = requests._cut, requests._seed, requests.paused, len(requests.prompts.records), requests.prompts._pending
    return seen | {"waiting": waiting, "events": paused.heard.drain()}


@pytest.mark.parametrize(("holds", "method", "path", "body"), REFUSED)
def test_a_refused_request_changes_nothing(paused, monkeypatch, holds, method, path, body):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    before = everything(paused)
    headers = paused.holder if holds else {}
    answer = paused.client.request(method, path, json=body, headers=headers)
    assert answer.status_code in (400, 404, 405, 408, 409, 413, 415, 422, 429, 503), answer.text
    assert everything(paused) == before | {"events": []}


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"prompt": "a"} b', b"x" * 70_000])
def test_a_body_that_cannot_be_read_changes_nothing(paused, body):
    for method, path in itertools.islice(ROUTES, 5):
        before = everything(paused)
        headers = paused.holder | {"content-type": "application/json"}
        answer = paused.client.request(method, path, content=body, headers=headers)
        assert answer.status_code in (400, 413, 422), answer.text
        assert everything(paused) == before | {"events": []}
