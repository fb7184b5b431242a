"""Viewers that can't take VP8: a second encode in H.264, while there is one of them."""

import asyncio

import pytest

from tests.media.numbered_frames import read_number
from tests.media.test_whep import play, steps
from tests.media.whep_client import Client


def seconds(stream, codec) -> float:
    return stream.metrics.registry.get_sample_value("pp1_encode_seconds_total", {"codec": codec}) or 0.0


def test_for_viewers_without_vp8_there_is_a_second_encode_as_long_as_there_is_one():
    async def scene(stream):
        usual, _ = await stream.join()
        await usual.wait_frames(10)
        assert (seconds(stream, "h264"), stream.second._encoder) == (0.0, None)
        others = [await stream.join("video/H264") for _ in range(3)]
        await asyncio.gather(*(client.wait_frames(20) for client, _ in others))
        cost = seconds(stream, "h264")
        assert cost > 0
        for client, viewer_id in others:
            await stream.peers.close(viewer_id)
            await client.close()
        spent = seconds(stream, "h264")
        await usual.wait_frames(len(usual.numbers) + 10)
        assert (seconds(stream, "h264"), stream.second._encoder) == (spent, None)
        await usual.close()
        return [client.numbers for client, _ in others]

    for numbers in play(scene):
        assert steps(numbers).count(1) == len(numbers) - 1, numbers


def test_a_viewer_that_takes_both_gets_the_usual_codec():
    async def scene(stream):
        client = Client(read_number)
        _, answer = await stream.peers.offer(await client.offer())
        await client.close()
        return answer

    assert "VP8/90000" in play(scene)
    assert "H264/90000" not in play(scene)


@pytest.mark.parametrize("profile", ["42e01f", "42001f"])
def test_a_hardware_decoder_s_h264_is_answered(profile):
    async def scene(stream):
        client = Client(read_number, codec="video/H264")
        offer = await client.offer()
        kept = [line for line in offer.splitlines(True) if f"profile-level-id={profile}" in line or "fmtp" not in line]
        _, answer = await stream.peers.offer("".join(kept))
        await client.close()
        return answer

    answer = play(scene)
    assert f"profile-level-id={profile}" in answer
    assert "packetization-mode=1" in answer
