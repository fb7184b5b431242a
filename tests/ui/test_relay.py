"""The page takes the ICE servers that it is told, and plays through a real TURN server where nothing else passes."""

import contextlib

import pytest

from pp1_orchestrator.media.ice_servers import IceServer
from tests.media.turn_server import turn_server
from tests.security.test_relays import ELSEWHERE, needs_an_address
from tests.ui.browser import IN_BOTH, new_context, open_page
from tests.ui.page_server import PageServer

ONLY_RELAY = """window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(settings) { super({ ...settings, iceTransportPolicy: "relay" }); window.peer = this; }
};"""
USED = """async () => {
    const stats = [...(await window.peer.getStats()).values()];
    const pair = stats.find(({ type, nominated }) => type === "candidate-pair" && nominated);
    return stats.find(({ id }) => id === pair?.localCandidateId)?.candidateType;
}"""


@IN_BOTH
@needs_an_address  # Firefox asks no server on loopback
def test_a_browser_that_only_a_relay_reaches_plays(browser):
    with (
        turn_server(ELSEWHERE) as server,
        contextlib.closing(PageServer(ice_servers=(server,))) as site,
        new_context(browser) as context,
    ):
        context.add_init_script(ONLY_RELAY)
        page = open_page(context, site.url)
        page.wait_webrtc()
        page.wait_playing()
        assert page.page.evaluate(USED) == "relay"
        assert page.complaints == []


@pytest.mark.parametrize(
    "server",
    [
        IceServer(("stun:a.example", "turn:a.example:80?transport=tcp"), 'a "b", <c>', "d\\e; f=g"),
        IceServer(("turns:[2001:db8::1]:443",), "me", "x"),
    ],
)
def test_the_page_reads_what_the_server_tells(page, server):
    user = {"username": server.username, "credential": server.credential}
    expected = [{"urls": url} | ({} if url.startswith("stun") else user) for url in server.urls]
    header = ", ".join(['<https://a.example>; rel="next"', *server.links()])
    assert page.page.evaluate("header => window.pp1.WebRtc.readLinks(header)", header) == expected
