"""The route of the video over a WebSocket."""

import asyncio

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.socket_viewers import SocketViewer, SocketViewers
from pp1_orchestrator.server.rate_limit import client_of, limited

SERVICE_RESTART, POLICY_VIOLATION, TRY_AGAIN_LATER = 1012, 1008, 1013


def socket_routes(viewers: SocketViewers) -> APIRouter:
    """The one route. Its messages are described in docs/api.md: OpenAPI has no words for them."""
    router = APIRouter()

    @router.websocket("/ws/stream")
    @limited("offers")
    async def watch_socket(websocket: WebSocket) -> None:
        if (refusal := websocket.app.state.rates.refusal(watch_socket, websocket.scope)) is not None:
            await websocket.send_denial_response(refusal)
            return
        await websocket.accept()
        try:
            viewer = viewers.add(client_of(websocket.scope))
        except RequestError as error:  # said after the start: a browser tells its page nothing of one that is refused
            await websocket.close(TRY_AGAIN_LATER, str(error))
            return
        try:
            await websocket.send_json(viewers.config())
            code, reason = await _serve(websocket, viewer, viewers.silent_s)
            await websocket.close(code, reason)
        except WebSocketDisconnect:
            return
        finally:
            viewers.remove(viewer)

    return router


async def _serve(websocket: WebSocket, viewer: SocketViewer, silent_s: float) -> tuple[int, str]:
    """Send packets and take reports until one of both ends; why, as code and reason of the WebSocket's end."""
    sending = asyncio.ensure_future(_send(websocket, viewer))
    reporting = asyncio.ensure_future(_take_reports(websocket, viewer, silent_s))
    try:
        done, _ = await asyncio.wait((sending, reporting), return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in (sending, reporting):
            task.cancel()
        await asyncio.gather(sending, reporting, return_exceptions=True)


async def _send(websocket: WebSocket, viewer: SocketViewer) -> tuple[int, str]:
    async for message in viewer.messages():
        await websocket.send_bytes(message)
    return SERVICE_RESTART, "the server ends"


async def _take_reports(websocket: WebSocket, viewer: SocketViewer, silent_s: float) -> tuple[int, str]:
    try:
        while True:
            async with asyncio.timeout(silent_s):
                message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            viewer.report(message.get("bytes") or b"")
    except TimeoutError:
        return POLICY_VIOLATION, f"no report within {silent_s:g} s"
    except RequestError as error:
        return POLICY_VIOLATION, str(error)
