"""The page where no UDP passes: the same picture over its own connection, and back over WebRTC when that works."""

import contextlib
from collections.abc import Iterator

import numpy
import pytest
from PIL import Image

from pp1_orchestrator.media.media_settings import PeerLimits
from tests.ui.browser import IN_BOTH, NOT_SECURE, OVER_TCP, new_context, open_page
from tests.ui.page_server import BLUE, RED, PageServer, ask
from tests.ui.painted_stream import COLOURS, SIZE

TOKEN = "a token for the page"
ICE_FAILED = "ICE failed"
"""Firefox's own word in the console, which no page can keep it from."""
HIDES_UDP = """
    window.udp = false;
    const strip = (sdp) => sdp.replace(/^a=candidate:.*\\r\\n/gm, ""), { fetch } = window;
    const { setRemoteDescription } = RTCPeerConnection.prototype;
    const hides = (path, given) => String(path).endsWith("/whep") && given.body && !window.udp;
    window.fetch = (path, given) => fetch(path, hides(path, given) ? { ...given, body: strip(given.body) } : given);
    RTCPeerConnection.prototype.setRemoteDescription = function (answer) {
        return setRemoteDescription.call(this, window.udp ? answer : { ...answer, sdp: strip(answer.sdp) });
    };"""
"""As a network where no UDP passes until `window.udp` is set: neither side learns an address of the other."""
NO_FRAMES = """
    const { requestVideoFrameCallback } = HTMLVideoElement.prototype;
    HTMLVideoElement.prototype.requestVideoFrameCallback = function (call) {
        if (!this.srcObject) requestVideoFrameCallback.call(this, call);
    };"""
"""As a network where connections are made and packets as large as those of video are lost."""
BEHIND_S = "() => { const video = document.querySelector('video'); return video.buffered.end(0) - video.currentTime; }"
FRAMES = """() => { let frames = 0; const show = pp1.Player.prototype.live;
    pp1.Player.prototype.live = function (how) { window.frames = ++frames; show.call(this, how); }; }"""


@IN_BOTH
def test_the_picture_comes_over_tcp_and_follows_the_prompt(blocked, site):
    page = open_page(blocked, site.url)
    page.wait_status(OVER_TCP)
    assert page.page.evaluate("pp1.Player.FALLBACK_MS") <= 3000
    assert site.sockets.count == 1
    ask(page, "a red circle")
    page.wait_colour(RED)
    ask(page, "a blue circle")
    page.wait_colour(BLUE)
    assert page.page.locator("#pp1-veil.clear").count() == 1
    title = page.page.get_attribute("#pp1-status", "title")
    assert title is not None
    assert "UDP" in title
    assert [each for each in page.complaints if not each.startswith(ICE_FAILED)] == []


@IN_BOTH
def test_frames_keep_coming(blocked, site):
    page = open_page(blocked, site.url)
    page.wait_status(OVER_TCP)
    page.page.evaluate(FRAMES)
    page.page.wait_for_function("() => window.frames >= 80")  # more than the server sends without reports


def test_a_snapshot_is_the_frame_that_is_shown(blocked, site, tmp_path):
    page = open_page(blocked, site.url)
    page.wait_status(OVER_TCP)
    ask(page, "a red circle")
    page.wait_colour(RED)
    with page.page.expect_download() as download:
        page.page.click("#pp1-snapshot")
    download.value.save_as(tmp_path / "snapshot.png")
    with Image.open(tmp_path / "snapshot.png") as picture:
        assert picture.size == (SIZE, SIZE)
        centre = numpy.asarray(picture.convert("RGB"))[SIZE // 2, SIZE // 2].astype(int)
    assert abs(centre - COLOURS["red"]).max() < 30


@IN_BOTH
def test_a_restart_of_the_server_is_survived(blocked, site):
    page = open_page(blocked, site.url)
    page.wait_status(OVER_TCP)
    site.stop()
    page.wait_status("Disconnected")
    site.stream.prompt = "a blue circle"
    site.start()
    page.wait_status(OVER_TCP)
    page.wait_colour(BLUE)


@IN_BOTH
@pytest.mark.slow
def test_a_page_too_many_waits_for_a_free_place(blocked, site):
    site.stop()
    site.start(PeerLimits(viewers=1))
    first = open_page(blocked, site.url)
    first.wait_status(OVER_TCP)
    second = open_page(blocked, site.url)
    second.wait_status("Full")
    first.page.close()
    second.wait_status(OVER_TCP)
    site.stop()
    site.start()


@IN_BOTH
def test_a_page_that_is_closed_gives_its_place_back(blocked, site):
    page = open_page(blocked, site.url)
    page.wait_status(OVER_TCP)
    page.page.close()
    site.until(lambda: site.sockets.count == 0)


@IN_BOTH
def test_it_returns_to_webrtc_when_that_works(browser, site):
    with new_context(browser) as context:
        context.add_init_script(HIDES_UDP)
        page = open_page(context, site.url)
        page.page.wait_for_function("() => window.pp1?.Player")
        page.page.evaluate("() => { pp1.Player.RETURN_MS = [200]; pp1.Player.TRIAL_MS = 1000; }")
        page.wait_status(OVER_TCP)
        page.page.evaluate("() => { window.udp = true; pp1.Player.TRIAL_MS = 60000; }")
        page.wait_webrtc()
        page.wait_playing()
        site.until(lambda: site.sockets.count == 0)
        ask(page, "a red circle")
        page.wait_colour(RED)


def test_where_webrtc_connects_and_no_frame_comes_it_takes_the_websocket(browser, site):
    with new_context(browser) as context:
        context.add_init_script(NO_FRAMES)
        page = open_page(context, site.url)
        page.page.wait_for_function("() => window.pp1?.Player")
        page.page.evaluate("() => { pp1.Player.SILENT_MS = 1500; pp1.Player.FALLBACK_MS = 60000; }")
        page.wait_status(OVER_TCP)
        ask(page, "a red circle")
        page.wait_colour(RED)
        site.until(lambda: site.sockets.count == 1)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[PageServer]:
    with contextlib.closing(PageServer(host="192.0.2.1", token=TOKEN)) as site:
        yield site


@IN_BOTH
def test_without_webcodecs_it_plays_through_the_video_element(blocked, elsewhere):
    page = open_page(blocked, f"http://{NOT_SECURE}:{elsewhere.port}/?token={TOKEN}")
    assert page.page.evaluate("() => [window.isSecureContext, typeof VideoDecoder]") == [False, "undefined"]
    page.wait_status(OVER_TCP)
    page.wait_playing()
    ask(page, "a red circle")
    page.wait_colour(RED)
    ask(page, "a blue circle")
    page.wait_colour(BLUE)
    assert page.page.evaluate(BEHIND_S) < 1
    elsewhere.stop()
    elsewhere.start()
    page.wait_status(OVER_TCP)
    page.wait_playing()
