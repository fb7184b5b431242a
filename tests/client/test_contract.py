"""The client's operations and types against the OpenAPI document: nothing is missing, and nothing is made up."""

import inspect
from typing import Any, get_args

import msgspec
import pytest

from pp1_orchestrator import types
from pp1_orchestrator.client import AsyncClient, Client, api_answers, api_events
from pp1_orchestrator.client.api_calls import EVENTS, OPERATIONS
from pp1_orchestrator.server import event_schemas
from tests.server.test_auth import TOKEN
from tests.server.test_openapi import document

FOR_BROWSERS = {"sign_in"}
"""Programs send their token in a header."""
DOCUMENT = document(token=TOKEN)
METHODS = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}


def described() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation, by its id."""
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        if method != "head"
    }


def test_every_route_has_its_operation():
    routes = {name: (method, path) for name, (method, path, _) in described().items() if name not in FOR_BROWSERS}
    assert {operation.name: (operation.method, operation.path) for operation in OPERATIONS} == routes


def answer_schema(operation: dict[str, Any]) -> dict[str, Any]:
    first = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    return first.get("content", {}).get("application/json", {}).get("schema", {})


def test_every_json_answer_has_the_type_that_the_document_names():
    operations = described()
    for operation in OPERATIONS:
        named = answer_schema(operations[operation.name][2]).get("$ref", "").rpartition("/")[2]
        own = operation.answer.__name__ if operation.answer and hasattr(operation.answer, "__struct_fields__") else ""
        assert own == named, operation.name


def structs(module: Any) -> dict[str, type[msgspec.Struct]]:
    own = inspect.getmembers(module, lambda value: inspect.isclass(value) and value.__module__ == module.__name__)
    return {name: kind for name, kind in own if issubclass(kind, msgspec.Struct)}


IN_HEADERS = {"ViewerSession"}


@pytest.mark.parametrize("name", sorted(structs(api_answers).keys() - IN_HEADERS))
def test_an_answer_has_the_fields_of_its_schema(name):
    schema = DOCUMENT["components"]["schemas"][name]
    fields = {field.encode_name: field.required for field in msgspec.structs.fields(structs(api_answers)[name])}
    assert fields == {field: field in schema.get("required", ()) for field in schema["properties"]}


@pytest.mark.parametrize("name", ["PromptUpdate", "TimelineEntry", "Control"])
def test_a_request_has_the_fields_of_its_schema(name):
    fields = {field.encode_name for field in msgspec.structs.fields(getattr(types, name))}
    assert fields == set(DOCUMENT["components"]["schemas"][name]["properties"])


def test_every_event_has_the_fields_of_its_schema():
    models = {kind.__name__: kind for kind in get_args(get_args(event_schemas.Event)[0])}
    events = {kind.__name__: kind for kind in get_args(api_events.Event)}
    assert events.keys() == models.keys()
    for name, kind in events.items():
        fields = {field.encode_name: field.required for field in msgspec.structs.fields(kind)}
        tag = kind.__struct_config__.tag
        model = models[name].model_fields
        assert fields == {field: info.is_required() for field, info in model.items() if field != "event"}
        assert get_args(model["event"].annotation) == (tag,)


def test_both_clients_have_the_same_methods():
    own = {name for name, _ in inspect.getmembers(AsyncClient, inspect.isfunction) if not name.startswith("_")}
    assert {name.removeprefix("a") if name == "aclose" else name for name in own} == METHODS
    for name in METHODS - {"close"}:
        plain, waiting = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
        assert plain.parameters == waiting.parameters
    assert EVENTS in OPERATIONS
