"""The places where aiortc has to be told what its public interface has no word for. Nothing else reaches inside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioice import Candidate
from aiortc import RTCRtpSender


def offer_addresses(sender: RTCRtpSender, addresses: list[str] | None) -> None:
    """Gather candidates on these addresses only; None leaves aioice's choice (every address but loopback)."""
    if addresses is None:
        return
    connection = sender.transport.transport.iceGatherer._connection
    gather = connection.get_component_candidates
    wanted = addresses

    async def gather_wanted(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        return await gather(component, wanted, timeout)

    connection.get_component_candidates = gather_wanted


def on_keyframe_request(sender: RTCRtpSender, handler: Callable[[], None]) -> None:
    """Call the handler when the viewer asks for a keyframe. (aiortc asks its own encoder, which packets bypass.)"""
    sender._send_keyframe = handler


def on_rtcp(sender: RTCRtpSender, handler: Callable[[], None]) -> None:
    """Call the handler whenever the viewer sends a control packet."""
    handle = sender._handle_rtcp_packet

    async def heard(packet: Any) -> None:
        handler()
        await handle(packet)

    sender._handle_rtcp_packet = heard
