"""The OpenAPI document. FastAPI describes routes and models; this file adds the error responses and the events."""

import warnings
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import APIKeyCookie, HTTPBearer

import pp1_orchestrator
from pp1_orchestrator.server.event_schemas import EVENT
from pp1_orchestrator.server.schemas import Error
from pp1_orchestrator.server.tokens import COOKIE

Responses = dict[int | str, dict[str, Any]]
SDP, EVENTS, MP4, OPENMETRICS = "application/sdp", "text/event-stream", "video/mp4", "application/openmetrics-text"
ERRORS: Mapping[int, str] = {
    400: "The body can't be read: not JSON, not UTF-8, or not an offer that can be answered",
    401: "No token, or a wrong one, where the server has one",
    403: "A Host or Origin that is not allowed here, or a token that only permits watching",
    404: "There is nothing with this id",
    408: "The body did not arrive in time",
    409: "Not possible in the current state; the line gives the reason",
    413: "The body is too long",
    415: "The Content-Type is not the one that this route takes",
    422: "The body is not valid; the line names the field and what is allowed",
    429: "Too many requests, or too many wrong tokens, from one address; Retry-After says when to try again",
    503: "No capacity at the moment; Retry-After says when to try again",
}
BODY_ERRORS = (400, 408, 413, 415, 422, 429)
CREDENTIALS = [
    Security(HTTPBearer(scheme_name="token", description="serving.token or serving.view_token", auto_error=False)),
    Security(
        APIKeyCookie(name=COOKIE, scheme_name="page", description="Set by /?token=… in a browser", auto_error=False)
    ),
]
"""Document the access rules. `AccessGuard` enforces them, for the page's paths as well."""
SCHEMA_REF = "#/components/schemas/{model}"
DESCRIPTION = """A live stream of video that follows prompts.

Every error is `{"error": one line}`. A page of another origin can neither read nor change anything."""


def errors(*statuses: int) -> Responses:
    """Error responses of a route, for `responses`. With `model`, FastAPI would build a validator for each of them."""
    body = {"application/json": {"schema": {"$ref": SCHEMA_REF.format(model="Error")}}}
    return {status: {"description": ERRORS[status], "content": body} for status in statuses}


def content(description: str, *media_types: str, **schema: str) -> dict[str, Any]:
    """A response that is not JSON, for `responses`; plain text by default."""
    shape = {"type": "string", **schema}
    return {"description": description, "content": {name: {"schema": shape} for name in media_types or ("text/plain",)}}


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application, for `app.openapi`. Built once."""
    if app.openapi_schema is None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Duplicate Operation ID")  # of GET and HEAD; `_head_of` changes them
            made = get_openapi(
                title="PP1 Orchestrator",
                version=pp1_orchestrator.__version__,
                description=DESCRIPTION,
                license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
                routes=app.routes,
                separate_input_output_schemas=False,
            )
        for operations in made["paths"].values():
            if "get" in operations:
                operations["head"] = _head_of(operations["get"])
            for responses in (operation["responses"] for operation in operations.values()):
                # FastAPI adds a 422 to each route with a parameter. Ours are strings, so no value of them is invalid.
                if responses.get("422", {}).get("description") == "Validation Error":
                    del responses["422"]
        events = EVENT.json_schema(ref_template=SCHEMA_REF)["$defs"]
        schemas = made["components"]["schemas"] | events | {"Error": Error.model_json_schema()}
        made["components"]["schemas"] = {name: schemas[name] for name in schemas if "ValidationError" not in name}
        app.openapi_schema = made
    return app.openapi_schema


def _head_of(get: dict[str, Any]) -> dict[str, Any]:
    """HEAD answers as GET does, without a body."""
    responses = {
        status: {key: part[key] for key in part if key != "content"} for status, part in get["responses"].items()
    }
    return get | {"operationId": f"{get['operationId']}_head", "responses": responses}
