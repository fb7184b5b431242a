"""Datagrams at a viewer's UDP port while it watches: from a stranger, from its own address, and with valid SRTP.

An input is a sequence of datagrams, each with a byte that says from whom, and two with its length. Whatever arrives,
the viewer's transport goes on, or the viewer is closed and forgotten; another viewer still gets frames. Only packets
with valid SRTP may end a viewer. What is sent because of one input has a limit.
"""

import asyncio
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pylibsrtp
from aioice import stun
from aiortc import rtp

from tests.fuzz.event_loop import PersistentLoop
from tests.fuzz.oracle import Finding
from tests.media.test_whep import Stream
from tests.media.whep_client import Client

STRANGER, OWN_ADDRESS, SRTCP, SRTP, DECRYPTED = range(5)
SSRC, RTX_SSRC, SEQUENCE = b"\x11" * 4, b"\x22" * 4, b"\x33" * 2
"""In an input they stand for what the sender has: its SSRCs, and the sequence number of EARLIER packets ago."""
EARLIER = 16
MOST, TURNS = 60, 5
SENT_BYTES = 1_500_000 // 8 * 2
"""By one viewer's transport because of one input: its stream, and as much again, for a second."""
WAIT_S = 120


class Scene:
    """A stream with two viewers: `target` and another one, who must not notice anything."""

    def __init__(self) -> None:
        self._loop = PersistentLoop()
        self._stream = Stream()
        self._context = self._stream.running()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._loop.run(self._start())

    async def _start(self) -> None:
        await self._context.__aenter__()
        self.other, _ = await self._stream.join()
        await self._join()

    async def _join(self) -> None:
        self.target, self._id = await self._stream.join()
        await asyncio.gather(self.target.wait_frames(EARLIER), self.other.wait_frames(3))
        viewer: Any = self._stream.peers._viewers[self._id][0]
        self._sender = viewer._connection.getSenders()[0]
        self._dtls = self._sender.transport
        self._address = ("127.0.0.1", self._dtls.transport.iceGatherer._connection._protocols[0].local_candidate.port)

    def send(self, datagrams: list[tuple[int, bytes]]) -> None:
        self._loop.run(self._send(datagrams))

    def close(self) -> None:
        self._loop.run(self._close())
        self._socket.close()

    def watch(self) -> None:
        """Raises Finding unless the other viewer gets frames, in order."""
        self._loop.run(self._watch(self.other, 3))

    async def _close(self) -> None:
        await self.target.close()
        await self.other.close()
        await self._context.__aexit__(None, None, None)

    async def _send(self, datagrams: list[tuple[int, bytes]]) -> None:
        before = self._dtls._RTCDtlsTransport__tx_bytes
        for source, data in datagrams:
            await self._send_one(source, self._filled(data))
        for _ in range(TURNS + len(datagrams)):
            await asyncio.sleep(0)
        if (sent := self._dtls._RTCDtlsTransport__tx_bytes - before) > SENT_BYTES:
            raise Finding(f"{sent} bytes were sent because of {sum(len(data) for _, data in datagrams)}")
        await self._check_target(any(source in (SRTCP, SRTP) for source, _ in datagrams))

    def _filled(self, data: bytes) -> bytes:
        newest = next(reversed(self._sender._RTCRtpSender__rtp_history.values())).sequence_number
        data = data.replace(SSRC, struct.pack("!L", self._sender._ssrc))
        data = data.replace(RTX_SSRC, struct.pack("!L", self._sender._rtx_ssrc))
        return data.replace(SEQUENCE, struct.pack("!H", (newest - EARLIER) % (1 << 16)))

    async def _send_one(self, source: int, data: bytes) -> None:
        own: Any = self.target._receiver.transport
        if source == STRANGER:
            self._socket.sendto(data, self._address)
        elif source == DECRYPTED:
            await self._dtls._handle_rtcp_data(data)
        else:
            try:
                if source == SRTCP:
                    data = own._tx_srtp.protect_rtcp(data)
                elif source == SRTP:
                    data = own._tx_srtp.protect(data)
            except (pylibsrtp.Error, TypeError, ValueError):  # no such packet can be protected
                return
            for protocol in own.transport._connection._protocols:  # none when it is being closed
                protocol.transport.sendto(data, self._address)

    async def _check_target(self, may_end: bool) -> None:
        if self._dtls._task is not None and not self._dtls._task.done() and self._id in self._stream.peers._viewers:
            return
        task = self._dtls._task
        await self._stream.until(lambda: self._id not in self._stream.peers._viewers)
        error = task.exception() if task is not None and task.done() and not task.cancelled() else None
        await self.target.close()
        await self._join()
        if error is not None and not isinstance(error, ConnectionError):
            raise Finding(f"a viewer's task ended: {type(error).__name__}: {error}") from error
        if not may_end:
            raise Finding("a viewer was ended by packets without SRTP")

    async def _watch(self, client: Client, frames: int) -> None:
        seen = len(client.numbers)
        try:
            await client.wait_frames(seen + frames)
        except TimeoutError:
            raise Finding(f"another viewer gets no frames; it has {seen}") from None


SCENES: list[Scene] = []


def fuzz_one(data: bytes) -> None:
    if not SCENES:
        SCENES.append(Scene())
    SCENES[0].send(list(_datagrams(data)))


def still_works() -> None:
    if SCENES:
        SCENES[0].watch()


def close() -> None:
    while SCENES:
        SCENES.pop().close()


def _datagrams(data: bytes) -> Iterator[tuple[int, bytes]]:
    for _ in range(MOST):
        if len(data) < 3:
            return
        size = int.from_bytes(data[1:3], "big")
        yield data[0] % 5, data[3 : 3 + size]
        data = data[3 + size :]


def _input(*datagrams: tuple[int, bytes]) -> bytes:
    return b"".join(bytes([source]) + len(data).to_bytes(2, "big") + data for source, data in datagrams)


def seeds() -> list[bytes]:
    """One packet of each kind, from each side; a NACK of a hundred packets, sixty times."""
    ssrc, rtx_ssrc = (int.from_bytes(raw, "big") for raw in (SSRC, RTX_SSRC))
    earlier = int.from_bytes(SEQUENCE, "big")
    report = rtp.RtcpReceiverInfo(ssrc, 3, 2, 1, 4, 5, 6)
    info = rtp.RtcpSenderInfo(1, 2, 3, 4)
    nack = rtp.RtcpRtpfbPacket(rtp.RTCP_RTPFB_NACK, 1, ssrc, [earlier + lost for lost in range(16)])
    rtcp: list[Any] = [
        rtp.RtcpRrPacket(1, [report]),
        rtp.RtcpSrPacket(1, info, [report]),
        rtp.RtcpSdesPacket([rtp.RtcpSourceInfo(1, [(1, b"name")])]),
        rtp.RtcpByePacket([1, rtx_ssrc]),
        nack,
        rtp.RtcpRtpfbPacket(15, 1, ssrc, []),
        rtp.RtcpPsfbPacket(rtp.RTCP_PSFB_PLI, 1, ssrc),
        rtp.RtcpPsfbPacket(rtp.RTCP_PSFB_FIR, 1, 0, SSRC + b"\1\0\0\0"),
        rtp.RtcpPsfbPacket(rtp.RTCP_PSFB_APP, 1, 0, rtp.pack_remb_fci(10_000, [ssrc])),
    ]
    whole = [bytes(packet) for packet in rtcp]
    media = rtp.RtpPacket(payload_type=97, sequence_number=earlier, timestamp=1, ssrc=1, payload=b"video")
    binding = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, b"t" * 12)
    binding.attributes["USERNAME"] = "abcd:efgh"
    hello = bytes.fromhex("16fefd000000000000000000120100000600000000000000060000fefd0000")
    raw = [bytes(binding), hello, media.serialize(), *whole]
    return [
        *(_input((source, data)) for source in (STRANGER, OWN_ADDRESS) for data in raw),
        *(_input((source, data)) for source in (SRTCP, DECRYPTED) for data in whole),
        _input((SRTP, media.serialize())),
        _input((SRTCP, b"".join(whole))),
        _input((STRANGER, b""), (STRANGER, b"\x80\xe0" + bytes(1998)), (OWN_ADDRESS, b"")),
        _input(*((SRTCP, bytes(nack) * 6),) * MOST),
    ]
