"""A viewer that wants to send something itself: nothing of it is taken."""

import asyncio

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

from pp1_orchestrator.media.aiortc_patches import ice_connection, offer_addresses
from tests.media.test_whep import play
from tests.media.whep_client import LOOPBACK
from tests.security.udp_attacks import JUNK, Stranger, port_in

KINDS = {"audio": AudioStreamTrack, "video": VideoStreamTrack}
FRAMES = 5


def sender(*kinds: str) -> RTCPeerConnection:
    """A peer that sends all of these; `data` is a data channel."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for kind in kinds:
        if kind == "data":
            peer.createDataChannel("")
        else:
            offer_addresses(peer.addTransceiver(KINDS[kind](), direction="sendrecv").sender, LOOPBACK)
    return peer


def test_what_a_viewer_sends_is_not_decoded_and_its_port_is_guarded():
    async def scene(stream):
        peer, tracks = sender("video"), []
        peer.on("track", tracks.append)
        await peer.setLocalDescription(await peer.createOffer())
        viewer_id, answer = await stream.peers.offer(peer.localDescription.sdp)
        viewer, _ = stream.peers._viewers[viewer_id]
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(120):
            while not viewer.is_connected:
                await asyncio.sleep(0.02)
            stranger = Stranger(port_in(answer))
            await stranger.send(*JUNK.values())
            for _ in range(FRAMES):
                await tracks[0].recv()
            stranger.close()
        transport = viewer._transceiver.receiver.transport
        receivers, queued = transport._rtp_router.receivers, ice_connection(transport)._queue.qsize()
        await peer.close()
        return receivers, queued

    receivers, queued = play(scene)
    assert not receivers
    assert queued == 0


@pytest.mark.parametrize("kinds", ["audio video", "video video", "data video", "video audio data"])
def test_for_what_is_not_wanted_nothing_is_opened(kinds):
    async def scene(stream):
        peer = sender(*kinds.split())
        await peer.setLocalDescription(await peer.createOffer())
        viewer_id, answer = await stream.peers.offer(peer.localDescription.sdp)
        connection = stream.peers._viewers[viewer_id][0]._connection
        await peer.close()
        return len(connection.getTransceivers()), connection.sctp, answer

    transceivers, sctp, answer = play(scene)
    assert (transceivers, sctp) == (1, None)
    sections = [line.split()[:2] for line in answer.splitlines() if line.startswith("m=")]
    video = [kind for kind, _ in sections].index("m=video")
    assert len(sections) == len(kinds.split())
    assert [port != "0" for _, port in sections] == [number in (0, video) for number in range(len(sections))]
