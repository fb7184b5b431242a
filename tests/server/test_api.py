"""The documented routes over an in-memory stream: what is accepted, what is refused, and the error texts."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from pp1_orchestrator.types import Control, PromptUpdate, TimelineEntry, Transition, WeightedPrompt
from pp1_orchestrator.ui import mount_panel
from tests.server.conftest import build


@pytest.fixture(scope="module")
def client_with_page():
    """With the page, which is mounted at `/` and so matches every path."""
    with TestClient(build(mount_panel=mount_panel).app, base_url="http://127.0.0.1:7860") as client:
        yield client


def post(client, path, body, content_type="application/json"):
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return client.post(path, content=data, headers={"Content-Type": content_type})


def test_a_prompt_is_accepted_with_an_id(client, parts):
    answer = post(client, "/api/prompt", {"prompt": "a red circle"})
    assert (answer.status_code, answer.json()) == (200, {"id": "u1", "state": "accepted"})
    assert parts.stream.updates == [PromptUpdate(prompt="a red circle")]


def test_a_truncated_prompt_is_accepted_and_reported(client):
    answer = client.post("/api/prompt", json={"prompt": "long"})
    assert (answer.status_code, answer.json()) == (
        200,
        {"id": "u1", "state": "accepted", "truncated": True, "read_chars": 3},
    )


def test_a_blend_arrives_with_every_field(client, parts):
    body = {
        "prompts": [{"text": "a", "weight": 2}, {"text": "b"}],
        "blend": "slerp",
        "transition": {"steps": 3, "method": "slerp"},
        "cut": "hard",
    }
    assert post(client, "/api/prompt", body).status_code == 200
    assert parts.stream.updates == [
        PromptUpdate(
            prompts=(WeightedPrompt("a", 2.0), WeightedPrompt("b")),
            blend="slerp",
            transition=Transition(3, "slerp"),
            cut="hard",
        )
    ]


def test_a_timeline_is_accepted_listed_and_cleared(client, parts):
    entries = [{"chunk": 0, "prompt": "a"}, {"chunk": 4, "cut": "hard", "seed": 7}]
    answer = client.put("/api/timeline", json={"entries": entries})
    assert (answer.status_code, answer.json()) == (200, {"entries": 2, "first_chunk": 5, "state": "accepted"})
    assert parts.stream.entries == [TimelineEntry(chunk=0, prompt="a"), TimelineEntry(chunk=4, cut="hard", seed=7)]
    told = client.get("/api/timeline").json()["entries"]
    assert told == [{"prompt": "a", "chunk": 0}, {"cut": "hard", "chunk": 4, "seed": 7}]
    assert client.delete("/api/timeline").json() == {"entries": 0, "state": "accepted"}
    assert parts.stream.entries == []


def test_a_timeline_that_cannot_be_run_is_refused(client, parts):
    answer = client.put("/api/timeline", json={"entries": [{"chunk": -1, "prompt": "a"}]})
    assert (answer.status_code, answer.json()) == (422, {"error": "chunk is -1; 0 to 2147483647 are possible"})
    answer = client.put("/api/timeline", json={"entries": [{"prompt": "a"}]})
    assert (answer.status_code, "chunk" in answer.json()["error"]) == (422, True)
    assert parts.stream.entries == []


def test_a_recording_is_a_timeline_that_can_be_put_back(client, parts):
    entries = client.get("/api/recording").json()["entries"]
    assert entries == [{"prompt": "a start", "chunk": 0, "seed": 42}]
    assert client.put("/api/timeline", json={"entries": entries, "relative": True}).status_code == 200
    assert parts.stream.entries == [TimelineEntry(chunk=0, seed=42, prompt="a start")]


@pytest.mark.parametrize("prompt", ["x" * 2000, "nul \x00 byte", "🟥" * 2000, "\u202eright to left", "line\nbreak"])
def test_odd_prompts_are_accepted(client, parts, prompt):
    assert post(client, "/api/prompt", {"prompt": prompt}).status_code == 200
    assert parts.stream.updates[-1].prompt == prompt


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"prompt": ""}, 422, "prompt is empty"),
        ({"prompt": " \n\t"}, 422, "prompt is empty"),
        ({}, 422, "prompt is missing: give prompt or prompts"),
        ({"prompts": [{"text": "a"}, {"text": ""}]}, 422, "prompt is empty"),
        ({"prompt": "x" * 2001}, 422, "prompt has 2001 characters; at most 2000 are taken"),
        ({"prompts": [{"text": "a"}] * 9}, 422, "prompts has 9 entries; 1 to 8 are possible"),
        (
            {"prompt": "a", "promt": "b"},
            422,
            "Object contains unknown field `promt`; choices: prompt, prompts, blend, ",
        ),
        (
            {"prompts": [{"text": "a", "wieght": 1}]},
            422,
            "Object contains unknown field `wieght` - at `$.prompts[0]`; choices: text, weight",
        ),
        ({"prompt": 5}, 422, "Expected `str`, got `int` - at `$.prompt`"),
        ({"prompt": "a", "cut": "soon"}, 422, "Invalid enum value 'soon' - at `$.cut`; choices: hard, recache, soft"),
        ({"prompt": "impossible"}, 422, "this can't be shown"),
        ({"prompt": "a", "cut": None}, 422, "Expected `str`, got `null` - at `$.cut`"),
        ('{"prompts": [{"text": "a", "weight": 1e400}]}', 422, "Number out of range"),
        ([], 422, "Expected `object`, got `array`"),
        ("{", 400, "the body is not JSON: Input data was truncated"),
        ('{"prompt": "\\ud800"}', 400, "the body is not JSON: "),
        (b'{"prompt": "\xff"}', 400, "the body is not JSON: "),
        ('{"prompts": [[]]}', 422, "Expected `object`, got `array` - at `$.prompts[0]`"),
        ('{"prompts": ' + "[" * 30000, 400, "the body is not JSON: "),
        ('{"\\ud800": 1}', 400, "the body is not JSON: "),
        ("", 400, "the body is missing"),
        ("null", 422, "Expected `object`, got `null`"),
        ({"prompt": "x" * 1_000_000}, 413, "the body is longer than 65536 bytes"),
    ],
)
def test_prompts_that_are_refused(client, parts, body, status, says):
    answer = post(client, "/api/prompt", body)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(says)
    assert "\n" not in answer.json()["error"]
    assert parts.stream.updates == []


def test_a_body_without_a_declared_length_is_limited_too(client, parts):
    def chunks():
        for _ in range(100):
            yield b" " * 1024

    answer = client.post("/api/prompt", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert parts.stream.updates == []


def test_an_internal_error_reveals_nothing_to_the_client(client):
    answer = post(client, "/api/prompt", {"prompt": "broken"})
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})


@pytest.mark.parametrize("action", ["pause", "resume", "hard_cut"])
def test_commands(client, parts, action):
    answer = post(client, "/api/control", {"action": action})
    assert (answer.status_code, answer.json()) == (200, {"action": action, "state": "accepted"})
    assert parts.stream.commands == [Control(action)]


def test_a_seed(client, parts):
    assert post(client, "/api/control", {"action": "seed", "value": 7}).status_code == 200
    assert parts.stream.commands == [Control("seed", 7)]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            {"action": "explode"},
            "Invalid enum value 'explode' - at `$.action`; choices: hard_cut, pause, resume, seed",
        ),
        ({"action": "seed"}, "value is missing: action=seed needs one from 0 to 2147483647"),
        ({"action": "seed", "value": -1}, "value is -1; a seed is a whole number from 0 to 2147483647"),
        ({"action": "seed", "value": 2**31}, "value is 2147483648; a seed is"),
        ({"action": "seed", "value": 2**63}, "value is 9223372036854775808; a seed is"),
        ({"action": "pause", "value": 1}, "value=1 has no meaning for action=pause, only for seed"),
        ({"value": 1}, "Object missing required field `action`"),
    ],
)
def test_commands_that_are_refused(client, parts, body, says):
    answer = post(client, "/api/control", body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(says)
    assert parts.stream.commands == []


@pytest.mark.parametrize("path", ["/api/prompt", "/api/control", "/whep"])
def test_a_body_of_the_wrong_kind_is_refused(client, path):
    answer = post(client, path, "prompt=a", "application/x-www-form-urlencoded")
    wanted = "application/sdp" if path == "/whep" else "application/json"
    line = f"Content-Type is application/x-www-form-urlencoded; it must be {wanted}"
    assert (answer.status_code, answer.json()) == (415, {"error": line})


def test_state_is_the_streams_with_the_viewers(client, parts):
    parts.peers.viewers = {"a", "b"}
    state = client.get("/api/state").json()
    here = {"viewers": 2, "clip": None, "lease": {"holder": None, "waiting": []}, "may_change": True}
    assert state == parts.stream.state() | here


def test_an_offer_is_answered_and_can_be_ended_once(client):
    answer = post(client, "/whep", "v=0", "application/sdp")
    assert (answer.status_code, answer.text) == (201, "v=0")
    assert answer.headers["content-type"] == "application/sdp"
    location = answer.headers["location"]
    assert client.delete(location).status_code == 200
    assert client.delete(location).status_code == 404


def test_too_many_viewers_get_retry_after(client):
    answers = [post(client, "/whep", "v=0", "application/sdp") for _ in range(3)]
    assert [a.status_code for a in answers] == [201, 201, 503]
    assert int(answers[-1].headers["retry-after"]) > 0


def test_an_offer_that_is_not_text_is_refused(client):
    assert post(client, "/whep", b"\xff\xfe", "application/sdp").status_code == 400


def test_metrics_are_at_exactly_their_path_as_prometheus_text(client, parts):
    parts.metrics.viewers(3)
    answer = client.get("/metrics", follow_redirects=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert {s.labels["transport"]: s.value for s in families["pp1_viewers"].samples} == {"webrtc": 3, "websocket": 0}


@pytest.mark.parametrize("version", ["9" * 5000, "a", "1.a", ".", ""])
def test_metrics_are_there_whatever_version_is_asked_for(client, version):
    answer = client.get("/metrics", headers={"Accept": f"application/openmetrics-text;version={version}"})
    assert answer.status_code == 200


def test_health_is_about_the_process_and_readiness_about_the_chunks(client, parts):
    assert client.get("/readyz").status_code == 200
    parts.stream.is_ready = False
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/nothing", 404, "there is nothing at /nothing; /api/openapi.json lists what there is"),
        ("GET", "/docs", 404, "there is nothing at /docs; "),
        ("GET", "/openapi.json", 404, "there is nothing at /openapi.json; "),
        ("GET", "/api/nothing", 404, "there is nothing at /api/nothing; "),
        ("GET", "/whep", 405, "GET is not possible at /whep; allowed: OPTIONS, POST"),
        ("PUT", "/api/prompt", 405, "PUT is not possible at /api/prompt; allowed: POST"),
        ("POST", "/api/timeline", 405, "POST is not possible at /api/timeline; allowed: DELETE, GET, HEAD, PUT"),
        ("POST", "/api/state", 405, "POST is not possible at /api/state; allowed: GET, HEAD"),
        ("DELETE", "/api/clips/c1", 405, "DELETE is not possible at /api/clips/c1; allowed: GET, HEAD"),
        ("GET", "/api/prompt/", 404, "there is nothing at /api/prompt/; "),
        ("GET", "/whepper", 404, "there is nothing at /whepper; "),
        ("POST", "/metrics", 405, "POST is not possible at /metrics; allowed: GET, HEAD"),
        ("DELETE", "/", 405, "DELETE is not possible at /; allowed: GET, HEAD"),
        ("DELETE", "/whep/nobody", 404, "there is no such viewer"),
    ],
)
def test_other_paths_and_methods_get_one_line(client, client_with_page, method, path, status, says):
    for each in (client, client_with_page):
        answer = each.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"].startswith(says)
        if status == 405:
            assert answer.headers["allow"] == says.partition("allowed: ")[2]


def test_the_peers_live_as_long_as_the_server(parts, client):
    assert parts.peers.started
    client.__exit__(None, None, None)
    assert parts.peers.closed
    client.__enter__()
