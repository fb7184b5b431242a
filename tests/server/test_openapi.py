"""The OpenAPI document: complete, correct, and matched by the responses to generated requests."""

import dataclasses

import hypothesis
import msgspec
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from pp1_orchestrator import types
from pp1_orchestrator.event_bus import EventBus
from pp1_orchestrator.server import schemas
from pp1_orchestrator.server.event_schemas import EVENT
from pp1_orchestrator.server.state_schemas import StreamState
from pp1_orchestrator.ui import mount_panel
from tests.server.conftest import LIMITS, build
from tests.server.fakes import CountedPeers
from tests.server.test_auth import BEARER, HOME, TOKEN, all_routes

BOUNDED = hypothesis.settings(max_examples=40, derandomize=True, deadline=None, database=None)


@schemathesis.serializer("application/sdp")
def as_sdp(_, value):
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else msgspec.json.encode(value)


def served():
    """An application without relevant limits."""
    limits = dataclasses.replace(LIMITS, lease_s=0.0)  # nobody keeps what was made up by another test
    return build(CountedPeers(places=10_000), limits=limits, host="0.0.0.0", token=TOKEN).app


def document(**options) -> dict:
    client = TestClient(build(**options).app, base_url=HOME, headers=BEARER)
    return client.get("/api/openapi.json").json()


schema = schemathesis.openapi.from_asgi("/api/openapi.json", served(), headers=BEARER)


@schema.exclude(path="/api/events").parametrize()
@BOUNDED
def test_generated_requests_get_documented_responses(case):
    """The event stream has no end and can't be awaited here; test_sse reads it over a connection.

    A body that fits the schema may still be refused: for rules that join fields, and for 7.0 in place of 7.
    """
    case.call_and_validate(headers=BEARER, excluded_checks=[positive_data_acceptance])


@pytest.mark.parametrize("name", ["WeightedPrompt", "Transition", "PromptUpdate", "TimelineEntry", "Control", "Clip"])
def test_a_model_has_the_fields_and_defaults_of_its_struct(name):
    struct, model = getattr(types, name), getattr(schemas, name)
    assert {field.name for field in msgspec.structs.fields(struct)} == set(model.model_fields)
    for field in msgspec.structs.fields(struct):
        given = model.model_fields[field.name]
        assert given.is_required() is field.required
        assert field.required or (given.default or None) == (field.default or None)


def test_every_route_is_described():
    described = {
        (method.upper(), path.replace("{viewer_id}", "v0").replace("{clip_id}", "c0"))
        for path, operations in document()["paths"].items()
        for method in operations
    }
    assert described == set(all_routes())


def test_every_operation_says_what_it_is_for():
    for operations in document()["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            is_probe = operation["operationId"].startswith(("alive", "ready"))
            assert {"401", "403"} <= set(operation["responses"]) or is_probe


def test_an_operation_has_its_own_name_and_get_has_its_head():
    paths = document()["paths"].values()
    names = [operation["operationId"] for operations in paths for operation in operations.values()]
    assert len(set(names)) == len(names)
    for operations in paths:
        assert ("get" in operations) == ("head" in operations)
        head = operations.get("head", {"responses": {}})
        assert all("content" not in response for response in head["responses"].values())


def test_every_referenced_schema_exists():
    made = document()
    wanted = {line.split('"')[0] for line in str(made).replace("'", '"').split("#/components/schemas/")[1:]}
    assert {"PromptUpdate", "TimelineBody", "Control", "Error", "StreamState"} <= wanted
    assert wanted <= set(made["components"]["schemas"])


def test_security_is_documented_where_there_is_a_token():
    free, guarded = document()["paths"], document(token=TOKEN)["paths"]
    assert all("security" not in operation for path in free.values() for operation in path.values())
    assert guarded["/api/state"]["get"]["security"] == [{"token": []}, {"page": []}]
    assert "security" not in guarded["/healthz"]["get"]


def test_the_page_adds_nothing_to_it():
    assert document(mount_panel=mount_panel) == document()


@pytest.mark.parametrize("name", ["prompt", "control", "source", "plan", "record", "claim"])
def test_the_examples_are_accepted(client, name):
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            if operation["operationId"] == name:
                examples = operation["requestBody"]["content"]["application/json"]["examples"]
                answers = [client.request(method, path, json=shown["value"]) for shown in examples.values()]
    assert [answer.status_code for answer in answers] == [200] * len(examples)
    assert len(examples) > 0


def test_the_documented_bounds_are_enforced(client):
    schemas = document()["components"]["schemas"]
    text = schemas["PromptUpdate"]["properties"]["prompt"]["anyOf"][0]
    for length, status in ((text["maxLength"], 200), (text["maxLength"] + 1, 422), (text["minLength"] - 1, 422)):
        assert client.post("/api/prompt", json={"prompt": "x" * length}).status_code == status
    most = schemas["PromptUpdate"]["properties"]["prompts"]["maxItems"]
    for count, status in ((most, 200), (most + 1, 422)):
        assert client.post("/api/prompt", json={"prompts": [{"text": "a"}] * count}).status_code == status
    seed = int(schemas["Control"]["properties"]["value"]["anyOf"][0]["maximum"])
    for value, status in ((seed, 200), (seed + 1, 422)):
        assert client.post("/api/control", json={"action": "seed", "value": value}).status_code == status


def test_the_state_and_the_events_of_the_memory_stream_fit(client, parts):
    state = client.get("/api/state").json()
    assert StreamState(**state).viewers == 0
    events: EventBus = parts.events
    heard = events.subscribe(lambda: None)
    client.post("/api/prompt", json={"prompt": "a"})
    client.post("/api/control", json={"action": "pause"})
    client.post("/api/source", json={"strength": 0.5})
    assert [type(EVENT.validate_python(event)).__name__ for event in heard.drain()] == [
        "PromptAcceptedEvent",
        "ControlApplied",
        "SourceChanged",
    ]


def test_the_event_of_a_truncated_prompt_fits(client, parts):
    heard = parts.events.subscribe(lambda: None)
    client.post("/api/prompt", json={"prompt": "long"})
    (event,) = heard.drain()
    assert event["truncated"]
    assert EVENT.validate_python(event).truncated
