"""What rank 0 and its media process say to each other, as msgspec structures, and how they travel through a socket.

A message is four bytes of length and then MessagePack. Both sides decode into these types only, and take no message
that is longer than `MAX_BYTES`.
"""

import asyncio
import contextlib
import itertools
import math
import socket
from collections.abc import Mapping
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.types import Codec, DropReason, Limited

LENGTH_BYTES = 4
HEARTBEAT_S = 0.5
MAX_BYTES = 1 << 23
"""More than a keyframe takes at 50 Mbit a second."""
MAX_ECHO = 200
"""Characters of an error that quotes what came."""
MAX_NUMBER = 1 << 53
"""Of a figure and of a timestamp: what fits a float, and the 64 bits of libav."""
VIEWER_ID = "^[A-Za-z0-9_-]{1,64}$"
"""It becomes a part of an address."""
MAX_UNSENT = 1 << 23
"""Bytes that wait until the other side reads: more means that it hangs."""


class Start(Struct, frozen=True, tag=True):
    """To the media process, first of all: what it is to do."""

    video: VideoSettings
    limits: PeerLimits
    policy: CandidatePolicy


class Offer(Struct, frozen=True, tag=True):
    """To the media process: a viewer's offer. Answered by Answer or Refusal with the same id.

    others: addresses of the viewers that rank 0 serves itself.
    """

    id: int
    sdp: str
    address: str
    others: list[str] = []


class CloseViewer(Struct, frozen=True, tag=True):
    """To the media process: a viewer leaves. Answered by Closed."""

    id: int
    viewer: str


class Subscribe(Struct, frozen=True, tag=True):
    """To the media process: whether rank 0 wants the encoded packets, too."""

    wanted: bool


class RequestKeyframe(Struct, frozen=True, tag=True):
    """To the media process."""


class Stop(Struct, frozen=True, tag=True):
    """To the media process: close all viewers and end."""


class Ready(Struct, frozen=True, tag=True):
    """To rank 0: viewers can come."""


class Answer(Struct, frozen=True, tag=True):
    """To rank 0: the viewer was admitted."""

    id: int
    viewer: Annotated[str, Meta(pattern=VIEWER_ID)]
    sdp: str


class Refusal(Struct, frozen=True, tag=True):
    """To rank 0: the RequestError of an offer."""

    id: int
    status: Annotated[int, Meta(ge=400, le=599)]
    text: str


class Closed(Struct, frozen=True, tag=True):
    """To rank 0: found: whether there was such a viewer."""

    id: int
    found: bool


class Figures(Struct, frozen=True, tag=True):
    """To rank 0, at least every `HEARTBEAT_S`: what is now, and what has been counted since the last ones.

    addresses: of the viewers, one for each place that is taken. watched: whether anybody needs frames. busy:
    whether one is being worked on. frames: how many were.
    rtts_s, packets_sent, packets_lost: from the viewers' reports.
    """

    viewers: int = 0
    watched: bool = False
    packets_queued: int = 0
    busy: bool = False
    frames: int = 0
    dropped: Mapping[DropReason, int] = {}
    limited: Mapping[Limited, int] = {}
    encode_s: Mapping[Codec, float] = {}
    encoded_bytes: Mapping[Codec, int] = {}
    cpu_s: float = 0.0
    addresses: list[str] = []
    rtts_s: tuple[float, ...] = ()
    packets_sent: int = 0
    packets_lost: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError, which a decoder turns into its own: rank 0 adds these up."""
        maps = (self.dropped, self.limited, self.encode_s, self.encoded_bytes)
        counted = (self.viewers, self.packets_queued, self.frames, self.cpu_s, self.packets_sent, self.packets_lost)
        added = itertools.chain(counted, *(each.values() for each in maps))
        if not all(0 <= number < MAX_NUMBER for number in added) or not all(map(math.isfinite, self.rtts_s)):
            raise ValueError("a figure is negative, not finite, or too large")


class EncodedPacket(Struct, frozen=True, tag=True):
    """To rank 0, while it wants them: a packet with its 90 kHz timestamp."""

    pts: Annotated[int, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
    is_keyframe: bool
    data: bytes


class LogLine(Struct, frozen=True, tag=True):
    """To rank 0, which writes all lines."""

    logger: str
    level: int
    text: str
    path: str
    line: int


ToMedia = Start | Offer | CloseViewer | Subscribe | RequestKeyframe | Stop
FromMedia = Ready | Answer | Refusal | Closed | Figures | EncodedPacket | LogLine
Received = TypeVar("Received", ToMedia, FromMedia)


class MessageStream(Generic[Received]):
    """One end of the socket. Belongs to one event loop. Make it with `open_messages`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgspec.msgpack.Decoder[Received]
    ) -> None:
        self._reader, self._writer, self._decoder = reader, writer, decoder
        self._encoder = msgspec.msgpack.Encoder()

    def send(self, message: ToMedia | FromMedia) -> None:
        """Send soon, in order. Raises ConnectionError when the other side has gone or does not read."""
        if self._writer.is_closing() or self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            raise ConnectionError("the other side does not read")
        data = self._encoder.encode(message)
        self._writer.write(len(data).to_bytes(LENGTH_BYTES) + data)

    async def drain(self) -> None:
        """Wait while much is unsent. Raises ConnectionError when the other side has gone."""
        await self._writer.drain()

    async def receive(self) -> Received | None:
        """The next message; None when the other side has closed. Raises ContractError for what is none."""
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES))
            if length > MAX_BYTES:
                raise ContractError(f"a message of {length} bytes; at most {MAX_BYTES} are taken")
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ContractError(f"what came is no message of the media process: {str(error)[:MAX_ECHO]!a}") from error

    async def close(self) -> None:
        """Send what is unsent, and close."""
        self._writer.close()
        with contextlib.suppress(OSError):  # the other side has gone
            await self._writer.wait_closed()


async def open_messages(end: socket.socket, decoder: msgspec.msgpack.Decoder[Received]) -> MessageStream[Received]:
    """The stream of one end of a socket pair, which it owns from now on."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    return MessageStream(reader, writer, decoder)


def to_media_decoder() -> "msgspec.msgpack.Decoder[ToMedia]":
    return msgspec.msgpack.Decoder(ToMedia)


def from_media_decoder() -> "msgspec.msgpack.Decoder[FromMedia]":
    return msgspec.msgpack.Decoder(FromMedia)
