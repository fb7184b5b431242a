"""A crowd of WHEP viewers in one process: `python -m benchmarks.viewers URL COUNT SECONDS` prints rates as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack

from pp1_orchestrator.media.aiortc_patches import offer_addresses

LOOPBACK = ["127.0.0.1"]


def _offer(base: str, sdp: str) -> str:
    request = urllib.request.Request(f"{base}/whep", sdp.encode(), {"content-type": "application/sdp"}, method="POST")
    with urllib.request.urlopen(request) as reply:
        return reply.read().decode()


async def watch(base: str, seconds: float) -> float:
    """One viewer: frames a second over `seconds` after its first frame."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
    peer.on("track", tracks.put_nowait)
    offer_addresses(peer.addTransceiver("video", direction="recvonly").sender, LOOPBACK)
    await peer.setLocalDescription(await peer.createOffer())
    answer = await asyncio.to_thread(_offer, base, peer.localDescription.sdp)
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    track = await tracks.get()
    await track.recv()
    frames, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        await track.recv()
        frames += 1
    elapsed = time.monotonic() - start
    await peer.close()
    return frames / elapsed


async def crowd(base: str, count: int, seconds: float) -> list[float]:
    return await asyncio.gather(*(watch(base, seconds) for _ in range(count)))


if __name__ == "__main__":
    url, viewers, duration = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    sys.stdout.write(json.dumps(asyncio.run(crowd(url, viewers, duration))) + "\n")
