"""The route that the sign-in page posts to. It needs no token, and is there only where tokens are."""

from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Body, Request
from pydantic import WithJsonSchema
from starlette.responses import Response

from pp1_orchestrator.server.openapi import content, errors
from pp1_orchestrator.server.requests import StrictRoute
from pp1_orchestrator.server.sign_in import SIGN_IN, WRONG, lead_to, sign_in_page
from pp1_orchestrator.server.tokens import Tokens

FORM = "application/x-www-form-urlencoded"
FIELDS = {"type": "object", "properties": {"token": {"type": "string"}, "next": {"type": "string"}}}
Form = Annotated[bytes, Body(media_type=FORM), WithJsonSchema(FIELDS)]
WHERE = {"description": "The page to show", "required": True, "schema": {"type": "string"}}
ANSWERS: Any = {
    303: {"description": "The cookie is set", "headers": {"Location": WHERE}},
    401: content("A wrong token; the page asks again", "text/html"),
}


def sign_in_routes(tokens: Tokens) -> APIRouter:
    """One route."""
    router = APIRouter(route_class=StrictRoute, default_response_class=Response, tags=["access"])
    responses = ANSWERS | errors(400, 403, 408, 413, 415, 429)

    @router.post(SIGN_IN, status_code=303, summary="Sign in a browser", responses=responses)
    async def sign_in(request: Request, form: Form) -> Response:
        """Sets the cookie of a token. For programs there is the header `Authorization`."""
        if (refusal := tokens.refusal(request.scope)) is not None:
            return refusal
        fields = parse_qs(form.decode("utf-8", "replace"))
        token, following = (fields.get(name, [""])[0] for name in ("token", "next"))
        if tokens.permits(token) is None:
            tokens.count_wrong(request.scope)
            return sign_in_page(request.scope, WRONG, following)
        return tokens.sign_in(lead_to(request.scope, following), token, request.scope)

    return router
