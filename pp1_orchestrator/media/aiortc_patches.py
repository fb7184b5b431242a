"""Patches of aiortc's private parts, where its public interface offers nothing. No other module reaches inside it."""
# pyright: reportPrivateUsage=false

from collections.abc import Callable
from typing import Any

from aioice import Candidate
from aiortc import RTCRtpSender


def offer_addresses(sender: RTCRtpSender, addresses: list[str] | None) -> None:
    """Gather candidates on these addresses only. None keeps aioice's choice: every address but loopback."""
    if addresses is None:
        return
    connection = sender.transport.transport.iceGatherer._connection
    gather, allowed = connection.get_component_candidates, addresses

    async def gather_allowed(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        return await gather(component, allowed, timeout)

    connection.get_component_candidates = gather_allowed


def on_keyframe_request(sender: RTCRtpSender, handler: Callable[[], None]) -> None:
    """Call the handler when the viewer requests a keyframe. aiortc would ask its own encoder, which is not used."""
    sender._send_keyframe = handler


def on_rtcp(sender: RTCRtpSender, handler: Callable[[], None]) -> None:
    """Call the handler for each RTCP packet from the viewer."""
    handle = sender._handle_rtcp_packet

    async def notify_and_handle(packet: Any) -> None:
        handler()
        await handle(packet)

    sender._handle_rtcp_packet = notify_and_handle
