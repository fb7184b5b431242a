"""What a stranger, or a viewer that means harm, sends to a viewer's UDP port; and a socket to send it from."""

import asyncio
import socket
import struct

from aioice import stun
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket

LONGEST = 60_000
CLIENT_HELLO = (
    bytes.fromhex("16feff000000000000000000360100002a000000000000002afefd")
    + bytes(32)
    + bytes.fromhex("00000002c02b0100")
)
ALERT = bytes.fromhex("15fefd000000000000000000020228")
"""A fatal alert that is not encrypted, as in a handshake that fails."""
LONG_RTP = b"\x80\xe0" + bytes(1998)


def stun_request(*attributes: bytes) -> bytes:
    """A binding request with these attributes as they are."""
    body = b"".join(attributes)
    return struct.pack("!HHI12s", 1, len(body), stun.COOKIE, b"abcdefghijkl") + body


def many_fingerprints() -> bytes:
    """Each is valid, and is the checksum of all that comes before it."""
    data = stun_request()
    while len(data) < LONGEST:
        data += struct.pack("!HHI", 0x8028, 4, stun.message_fingerprint(data))
        data = stun.set_body_length(data, len(data) - stun.HEADER_LENGTH)
    return data


def check_with_password(username: str, password: str) -> bytes:
    """An ICE check, with everything that a viewer's has."""
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes |= {"USERNAME": username, "PRIORITY": 1853817087, "ICE-CONTROLLING": 1, "USE-CANDIDATE": None}
    message.add_message_integrity(password.encode())
    return bytes(message)


SHORT_PRIORITY = stun_request(struct.pack("!HH", 0x0024, 3) + bytes(4))
"""The parser expects four bytes there, and raises an error of another kind than for other mistakes."""
JUNK = {
    "empty": b"",
    "one byte": b"\x80",
    "long RTP": LONG_RTP,
    "short RTCP": b"\x80\xc9",
    "RTCP": b"\x80\xc9" + bytes(30),
    "long RTCP": b"\x80\xc9" + bytes(LONGEST),
    "ClientHello": CLIENT_HELLO,
    "alert": ALERT,
    "TURN": b"\x40" + bytes(60),
    "STUN without credentials": stun_request(),
    "STUN with a short number": SHORT_PRIORITY,
    "STUN of another length": stun_request()[:-1],
}


def nack(media_ssrc: int, numbers: list[int], times: int = 1) -> bytes:
    """RTCP that names these packets as lost, over and over."""
    packet = bytes(RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=media_ssrc, lost=numbers))
    pairs = packet[12:] * times
    return packet[:2] + struct.pack("!H", 2 + len(pairs) // 4) + packet[4:12] + pairs


def port_in(sdp: str) -> int:
    """Of the first candidate on loopback."""
    candidates = [line.split() for line in sdp.splitlines() if line.startswith("a=candidate:")]
    return next(int(fields[5]) for fields in candidates if fields[4] == "127.0.0.1")


class Stranger:
    """A socket of somebody who is no viewer. `heard`: datagrams that came back."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._to = (host, port)

    async def send(self, *packets: bytes, times: int = 1) -> None:
        """In small groups, so that the port's buffer takes them all."""
        for n in range(times):
            for packet in packets:
                self._socket.sendto(packet, self._to)
            if n % 8 == 0:
                await asyncio.sleep(0.002)

    def heard(self) -> int:
        count = 0
        while True:
            try:
                self._socket.recv(LONGEST)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self._socket.close()
