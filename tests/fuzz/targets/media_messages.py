"""Control messages between rank 0 and the media process: what each end makes of any bytes.

The only error is ContractError. What is read is written again, and read as the same.
"""

import asyncio
import socket

import msgspec

from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.media_process.control_messages import (
    LENGTH_BYTES,
    MessageStream,
    from_media_decoder,
    open_messages,
    to_media_decoder,
)  # fmt: skip
from tests.fuzz.event_loop import PersistentLoop
from tests.fuzz.oracle import Finding, check_line
from tests.media_process.test_control_messages import FROM_MEDIA, TO_MEDIA

LOOP = PersistentLoop()
DECODERS = (to_media_decoder(), from_media_decoder())


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(LENGTH_BYTES) + data


def seeds() -> list[bytes]:
    return [framed(msgspec.msgpack.encode(message)) for message in (*TO_MEDIA, *FROM_MEDIA[:5], *FROM_MEDIA[6:])]


def fuzz_one(data: bytes) -> None:
    for received in (data, framed(data[LENGTH_BYTES:])):  # as it is, and with a length that fits
        for decoder in DECODERS:
            LOOP.run(_receive(received, decoder))


def still_works() -> None:
    for data in seeds():
        if sum(LOOP.run(_receive(data, decoder)) for decoder in DECODERS) != 1:
            raise Finding(f"not one end reads {data!r}")


async def _receive(data: bytes, decoder: msgspec.msgpack.Decoder) -> int:
    """How many messages were read before the end or the first that is none."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    data = data[: theirs.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2]
    theirs.sendall(data)
    theirs.close()
    stream = await open_messages(ours, decoder)
    try:
        return await _read_all(stream, decoder)
    except ContractError as error:
        check_line(error, given=len(data))
        return 0
    finally:
        await stream.close()
        await asyncio.sleep(0)


async def _read_all(stream: MessageStream, decoder: msgspec.msgpack.Decoder) -> int:
    count = 0
    while (message := await stream.receive()) is not None:
        count += 1
        again = decoder.decode(msgspec.msgpack.encode(message))
        if repr(again) != repr(message):
            raise Finding(f"{message} is read as {again} after it was written")
    return count
