"""Patches of the private parts of aiortc 1.16 and aioice 0.13, where their public interfaces offer nothing.

No other module reaches inside them. `tests/security/test_library_faults.py` shows each fault in the library as it is:
when one of its tests fails, a patch is no longer needed.
"""
# pyright: reportPrivateUsage=false

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aioice import Candidate, stun
from aioice.ice import CandidatePair, Connection, StunProtocol
from aiortc import RTCDtlsTransport, RTCPeerConnection, RTCRtpSender
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket

from pp1_orchestrator.media.ice_gathering import ask_servers
from pp1_orchestrator.media.sdp import ViewerAddresses
from pp1_orchestrator.media.viewer_limits import DatagramLimit, RetransmissionLimit, kind_of

log = logging.getLogger(__name__)
Address = tuple[str, int]
QUEUED = 64
"""Datagrams of one viewer that wait to be handled."""
REMOTE_CANDIDATES = 64
"""Addresses of one viewer that are answered with checks."""
SEQUENCE_NUMBERS = 1 << 16


def _report(error: Exception) -> None:
    log.warning("a viewer's packet could not be handled (%s); told at most once a minute", type(error).__name__)


def ice_connection(transport: RTCDtlsTransport) -> Connection:
    return transport.transport.iceGatherer._connection


def offer_addresses(sender: RTCRtpSender, addresses: list[str] | None) -> None:
    """Gather candidates on these addresses only. None keeps aioice's choice: every address but loopback."""
    if addresses is None:
        return
    connection = ice_connection(sender.transport)
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


def limit_retransmissions(sender: RTCRtpSender, limit: RetransmissionLimit) -> None:
    """Send again what the limit allows. aiortc sends whatever a NACK names, as often as it is named.

    A NACK may also name packets across the end of the sequence numbers, which aiortc does not find.
    """
    retransmit = sender._retransmit
    history: dict[int, RtpPacket] = getattr(sender, "_RTCRtpSender__rtp_history")  # noqa: B009 - it has no other name

    async def retransmit_some(sequence_number: int) -> None:
        sequence_number %= SEQUENCE_NUMBERS
        packet = history.get(sequence_number % RTP_HISTORY_SIZE)
        if packet is None or packet.sequence_number != sequence_number:
            return
        rtt_s: float | None = getattr(sender, "_RTCRtpSender__rtt")  # noqa: B009 - it has no other name
        if limit.allows(sequence_number, len(packet.payload), rtt_s):
            await retransmit(sequence_number)

    sender._retransmit = retransmit_some


def guard_transports(
    connection: RTCPeerConnection, addresses: ViewerAddresses, limit: DatagramLimit, on_fault: Callable[[], None]
) -> None:
    """Guard every transport of a connection that has a remote description, and use only these addresses.

    on_fault: called when a transport can't go on; the viewer has to be closed.
    """
    transports = {transceiver.sender.transport: transceiver.sender for transceiver in connection.getTransceivers()}
    for transport, sender in transports.items():
        offer_addresses(sender, addresses.offered)
        GuardedPort(ice_connection(transport), limit, addresses)
        survive_packets(transport, on_fault)


def survive_packets(transport: RTCDtlsTransport, on_fault: Callable[[], None]) -> None:
    """Ignore RTCP that can't be handled, and close the viewer after any other error.

    aiortc's task ends at the first exception that it does not expect, and nobody learns of it: compare its issues 129,
    321, 584 and 745.
    """
    handle, receive = transport._handle_rtcp_data, transport._recv_next

    async def handle_or_ignore(data: bytes) -> None:
        try:
            await handle(data)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - a viewer's boundary: parsers raise anything
            _report(error)

    async def receive_or_close() -> None:
        try:
            await receive()
        except ConnectionError:
            raise
        except Exception as error:  # a viewer's boundary, which keeps the fault to itself
            _report(error)
            if transport.state != "connected":
                raise ConnectionError("the handshake can't go on") from error
            on_fault()
            await asyncio.Event().wait()  # until it is closed: a transport that is still connected says goodbye

    transport._handle_rtcp_data, transport._recv_next = handle_or_ignore, receive_or_close


class GuardedPort:
    """Decides what is heard at a viewer's UDP ports. aioice passes on every datagram of anybody, and keeps them all.

    STUN is heard from anywhere, if its integrity shows that the sender knows the password. DTLS and RTCP are heard from
    addresses that belong to the viewer: it proved that with a check of its own, or answered one of ours. A browser may
    begin with DTLS before ICE has ended here, and may later use another pair than the nominated one.

    addresses: from where a datagram may be looked at, which pairs are made, and what servers are asked for candidates.
    """

    def __init__(self, connection: Connection, limit: DatagramLimit, addresses: ViewerAddresses) -> None:
        self._connection, self._limit, self._addresses = connection, limit, addresses
        self._proven: set[tuple[StunProtocol, Address]] = set()
        self._gather, self._answer = connection.get_component_candidates, connection.request_received
        self._check = connection.check_incoming
        connection.get_component_candidates = self._gather_guarded
        connection.request_received = self._answer_viewer
        connection.check_incoming = self._check_known
        connection._pair_remote_candidate = self._pair_accepted
        connection.data_received = _ignore  # a port that is not guarded yet hears nothing

    async def _gather_guarded(self, component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:
        """Ports are guarded before servers are asked, which takes a while."""
        connection = self._connection
        candidates = await self._gather(component, addresses, timeout)
        for protocol in connection._protocols:
            self._guard(protocol, None)
        found = await ask_servers(connection, component, connection._protocols, self._addresses)
        for candidate, relay in found:
            candidates.append(candidate)
            if relay is not None:  # its peers are those that it was made to send to: until now none
                self._guard(relay, candidate.host)
                connection._protocols.append(relay)
        return candidates

    def _pair_accepted(self, remote_candidate: Candidate) -> None:
        """Pair a viewer's candidate with those of ours from which packets may go to it."""
        connection, remote = self._connection, remote_candidate
        for protocol in connection._protocols:
            local = protocol.local_candidate
            accepted = self._addresses.accepts(remote.host, local.host if local.type == "relay" else None)
            if accepted and local.can_pair_with(remote) and not connection._find_pair(protocol, remote):
                connection._check_list.append(CandidatePair(protocol, remote))

    def _guard(self, protocol: StunProtocol, relay: str | None) -> None:
        """relay: the address at which a TURN server takes what it passes on to this port."""
        parse = protocol.datagram_received

        def receive(data: bytes | str, addr: tuple[Any, ...]) -> None:
            assert isinstance(data, bytes)
            kind = kind_of(data) if self._addresses.hears(addr[0], relay) else None
            if kind == "stun":
                try:
                    parse(data, addr)
                except Exception as error:  # noqa: BLE001 - a stranger's boundary: compare aioice's issue 79
                    _report(error)
            elif kind is not None and self._is_viewer(protocol, (addr[0], addr[1])) and self._limit.allows(kind, data):
                self._enqueue(data, protocol)

        protocol.datagram_received = receive

    def _enqueue(self, data: bytes, protocol: StunProtocol) -> None:
        queue = self._connection._queue
        if queue.qsize() < QUEUED:
            queue.put_nowait((data, protocol.local_candidate.component))

    def _is_viewer(self, protocol: StunProtocol, address: Address) -> bool:
        return (protocol, address) in self._proven or any(
            pair.protocol is protocol and pair.remote_addr == address and pair.state is CandidatePair.State.SUCCEEDED
            for pair in self._connection._check_list
        )

    def _answer_viewer(self, message: stun.Message, addr: Address, protocol: StunProtocol) -> None:
        """Answer nobody else, so that this port can't be made to send anything to a third address."""
        connection = self._connection
        named = connection._valid_username(message.attributes.get("USERNAME", ""))
        if named and message.check_message_integrity(connection.local_password.encode()) and self._limit.takes("stun"):
            self._answer(message, addr, protocol)

    def _check_known(self, message: stun.Message, addr: Address, protocol: StunProtocol) -> None:
        candidates = self._connection._remote_candidates
        known = any((candidate._network_host, candidate.port) == addr for candidate in candidates)
        if known or len(candidates) < REMOTE_CANDIDATES:
            self._proven.add((protocol, addr))
            self._check(message, addr, protocol)


def _ignore(data: bytes, component: int) -> None:
    """Takes what `Connection.data_received` takes."""
