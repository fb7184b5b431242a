"""A viewer that wants to send something itself: nothing of it is taken, whichever section comes first."""

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


@pytest.mark.parametrize("kinds", [("audio", "video"), ("video", "audio"), ("video", "video")])
def test_what_a_viewer_sends_is_not_decoded_and_its_port_is_guarded(kinds):
    async def scene(stream):
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        tracks = []
        peer.on("track", tracks.append)
        for kind in kinds:
            offer_addresses(peer.addTransceiver(KINDS[kind](), direction="sendrecv").sender, LOOPBACK)
        await peer.setLocalDescription(await peer.createOffer())
        viewer_id, answer = await stream.peers.offer(peer.localDescription.sdp)
        viewer, _ = stream.peers._viewers[viewer_id]
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        async with asyncio.timeout(120):
            while not viewer.is_connected:
                await asyncio.sleep(0.02)
            track = next(track for track in tracks if track.kind == "video")
            stranger = Stranger(port_in(answer))
            await stranger.send(*JUNK.values())
            for _ in range(FRAMES):
                await track.recv()
            stranger.close()
        connection = viewer._connection
        receiving = [
            each.receiver for each in connection.getTransceivers() if each.receiver.transport._rtp_router.receivers
        ]
        hosts = {line.split()[4] for line in answer.splitlines() if line.startswith("a=candidate:")}
        queued = ice_connection(viewer._transceiver.sender.transport)._queue.qsize()
        await peer.close()
        return receiving, hosts, answer.count("a=inactive"), queued

    receiving, hosts, inactive, queued = play(scene)
    assert receiving == []
    assert hosts == {"127.0.0.1"}
    assert inactive == 1
    assert queued == 0
