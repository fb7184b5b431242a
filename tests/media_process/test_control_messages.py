"""Control messages: what is sent is what is read, and anything else is refused in one line."""

import asyncio
import math
import socket

import msgspec
import pytest

from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media_process import control_messages as messages
from pp1_orchestrator.media_process.control_messages import (
    MAX_BYTES,
    from_media_decoder,
    open_messages,
    to_media_decoder,
)

TO_MEDIA = [
    messages.Start(VideoSettings(64, 64, 23.976, codec="h264"), PeerLimits(viewers=3), CandidatePolicy("::1")),
    messages.Offer(1, "v=0\r\n", "10.0.0.7"),
    messages.CloseViewer(2, "abc"),
    messages.Subscribe(True),
    messages.RequestKeyframe(),
    messages.Stop(),
]
FROM_MEDIA = [
    messages.Ready(),
    messages.Answer(1, "abc", "v=0\r\n"),
    messages.Refusal(2, 503, "full"),
    messages.Closed(3, True),
    messages.Figures(
        2,
        True,
        5,
        True,
        7,
        {"slow_viewer": 4},
        {"viewers": 1},
        {"vp8": 0.25},
        {"vp8": 1000},
        0.5,
        ["127.0.0.1"],
        (0.02,),
        9,
        1,
    ),
    messages.EncodedPacket(90_000, True, b"\x00" * 100_000),
    messages.LogLine("pp1_orchestrator.media.whep", 20, "a line", "whep.py", 7),
]


def exchange(decoder, write):
    """What one end reads of what `write` does with the other's socket."""

    async def scene():
        ours, theirs = socket.socketpair()
        reading = await open_messages(ours, decoder)
        writing = await open_messages(theirs, decoder)
        write(writing)
        await writing.close()
        read = []
        try:
            while (message := await reading.receive()) is not None:
                read.append(message)
        finally:
            await reading.close()
        return read

    return asyncio.run(scene())


@pytest.mark.parametrize(("decoder", "sent"), [(to_media_decoder(), TO_MEDIA), (from_media_decoder(), FROM_MEDIA)])
def test_messages_arrive_as_they_were_sent(decoder, sent):
    def write(stream):
        for message in sent:
            stream.send(message)

    assert exchange(decoder, write) == sent


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


@pytest.mark.parametrize(
    "data",
    [
        (MAX_BYTES + 1).to_bytes(4),
        framed(b""),
        framed(b"\xc1"),
        framed(msgspec.msgpack.encode({"type": "Two\nlines" * 100})),
        framed(msgspec.msgpack.encode({"type": "Exec", "code": "1"})),
        framed(msgspec.msgpack.encode({"type": "Answer", "id": "1", "viewer": "x", "sdp": "v=0"})),
        framed(msgspec.msgpack.encode({"type": "Figures", "dropped": {"invented": 1}})),
        framed(msgspec.msgpack.encode({"type": "Refusal", "id": 1, "status": 400, "text": b"\xff"})),
        framed(msgspec.msgpack.encode({"type": "Figures", "packets_lost": -1})),
        framed(msgspec.msgpack.encode({"type": "Figures", "dropped": {"slow_viewer": -1}})),
        framed(msgspec.msgpack.encode({"type": "Figures", "cpu_s": math.nan})),
        framed(msgspec.msgpack.encode({"type": "Figures", "rtts_s": [math.inf]})),
        framed(msgspec.msgpack.encode({"type": "EncodedPacket", "pts": 1 << 63, "is_keyframe": True, "data": b""})),
        framed(msgspec.msgpack.encode({"type": "Answer", "id": 1, "viewer": "a\r\nb", "sdp": "v=0"})),
        framed(msgspec.msgpack.encode({"type": "Refusal", "id": 1, "status": 200, "text": ""})),
        framed(msgspec.msgpack.encode(messages.Offer(1, "v=0", "::1"))),  # rank 0 takes no offers from there
    ],
)
def test_anything_else_is_refused_in_one_line(data):
    with pytest.raises(ContractError) as refused:
        exchange(from_media_decoder(), lambda stream: stream._writer.write(data))
    assert "\n" not in str(refused.value)


def test_a_message_cut_short_is_the_end():
    assert exchange(from_media_decoder(), lambda stream: stream._writer.write(framed(b"x" * 9)[:-1])) == []
