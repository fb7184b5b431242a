"""Offers of other players than the page's own, from real browsers: whatever else they offer, the video plays."""

import pytest

from tests.ui.browser import IN_BOTH, open_page

WATCH = """async ({ sections, options, kinds }) => {
    const peer = new RTCPeerConnection(options), counted = [];
    for (const section of sections) {
        if (section === "then") await peer.setLocalDescription(); // else a data channel always comes last
        else if (section === "data") peer.createDataChannel("");
        else peer.addTransceiver(section, { direction: "recvonly" });
    }
    const played = new Promise((done, failed) => {
        peer.ontrack = ({ track, transceiver }) => {
            if (track.kind !== "video") return;
            const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true });
            video.srcObject = new MediaStream([track]);
            document.body.append(video);
            video.requestVideoFrameCallback(() => done(transceiver.mid));
        };
        peer.onconnectionstatechange = () => peer.connectionState === "failed" && failed(new Error("failed"));
    });
    await peer.setLocalDescription();
    const body = peer.localDescription.sdp, headers = { "Content-Type": "application/sdp" };
    const response = await fetch("/whep", { method: "POST", headers, body });
    const answer = await response.text();
    if (response.status !== 201) throw new Error(answer);
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    const mid = await played, offered = body.match(/^m=.*$/gm), answered = answer.match(/^m=.*$/gm);
    const receiving = peer.getTransceivers().filter((each) => each.currentDirection === "recvonly");
    const received = receiving.map((each) => each.receiver.track.kind);
    peer.close();
    await fetch(response.headers.get("Location"), { method: "DELETE" });
    return { mid, offered, answered, received };
}"""
OFFERS = {
    "video alone": ["video"],
    "data, audio and video": ["data", "audio", "video"],
    "audio first": ["audio", "video", "data"],
    "two videos": ["video", "video"],
    "data first": ["data", "then", "audio", "video"],
    "several of each": ["audio", "video", "audio", "video", "data"],
}


@IN_BOTH
@pytest.mark.parametrize("bundle", ["balanced", "max-bundle"])
@pytest.mark.parametrize("sections", OFFERS.values(), ids=OFFERS)
def test_the_video_plays_and_all_else_is_rejected(site, context, sections, bundle):
    """The first section carries the transport of the others, which is why it can't be rejected: RFC 9143."""
    page = open_page(context, f"{site.url}healthz")
    said = page.page.evaluate(WATCH, {"sections": sections, "options": {"bundlePolicy": bundle}})
    kinds, ports = zip(*(line.split()[:2] for line in said["answered"]), strict=True)
    assert list(kinds) == [line.split()[0] for line in said["offered"]]
    assert [port != "0" for port in ports] == [number in (0, kinds.index("m=video")) for number in range(len(kinds))]
    assert said["received"] == ["video"]
    page.page.close()
