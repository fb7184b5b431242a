"""The program as people run it, in real browsers: the video plays and follows the typed prompt."""

import time

import pytest
from playwright.sync_api import Browser

from tests.fault.test_media_process import media_process
from tests.system.program import Running, running
from tests.timing import scaled, stopwatch
from tests.ui.browser import IN_BOTH, MEAN_COLOUR, Visit, new_context, open_page, visit

pytestmark = IN_BOTH
PLAYS_WITHIN_S = 3
"""On an idle machine."""
PLAYS_AGAIN_S = 3.5
ATTEMPTS, VISITS = 4, 8
FRAMES_A_CHUNK = 12
RED_ON_BLUE = "a red circle moving left on a blue background"
GREEN_ON_WHITE = "a large green square moving up on a white background"
SHARE = """(test) => {
    const video = document.querySelector("video"), canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0, 64, 64);
    const pixels = context.getImageData(0, 0, 64, 64).data;
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) {
        const [r, g, b] = pixels.subarray(i, i + 3);
        count += { red: r > 140 && g < 110 && b < 110, green: g > 130 && r < 110 && b < 140 }[test];
    }
    return count / 4096;
}"""
MIN_SHARE = 0.01
"""A small shape covers a few hundredths of the frame."""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    out = tmp_path_factory.mktemp("served") / "out"
    with running("run.prompt=a blue star on a black background", out=out) as program:
        program.wait_until_ready()
        yield program


def share(page: Visit, colour: str) -> float:
    """The share of the frame's pixels that have this colour."""
    return page.page.evaluate(SHARE, colour)


def type_prompt(page: Visit, prompt: str) -> None:
    page.page.fill("#pp1-prompt textarea", prompt)
    page.page.press("#pp1-prompt textarea", "Enter")


def seconds_until_seen(page: Visit, colour: str) -> float:
    begun = time.monotonic()
    while share(page, colour) < MIN_SHARE:
        assert time.monotonic() - begun < 120, f"{colour} was never seen"
        time.sleep(0.03)
    return time.monotonic() - begun


def allowed_s(program: Running) -> float:
    """Two chunks at this machine's current rate, plus a second."""
    state = program.state()
    rate = min(state["figures"]["fps"], state["config"]["fps"])
    return 2 * FRAMES_A_CHUNK / rate + scaled(1)


def seconds_until_playing(browser: Browser, url: str) -> float:
    """Seconds from the request for the page to playing video."""
    with stopwatch() as watch:
        page = visit(browser, url)
        page.wait_playing()
        page.page.wait_for_function(f"() => Math.max(...({MEAN_COLOUR})()) > 0")
    page.page.context.close()
    return watch.seconds / watch.scale


def test_the_video_plays_soon(program, browser, record_property):
    """The best of a few visits, because the machine may be busy with other work."""
    took = []
    while not took or (min(took) >= PLAYS_WITHIN_S and len(took) < VISITS):
        took.append(round(seconds_until_playing(browser, f"http://127.0.0.1:{program.port}/"), 2))
    record_property("plays_after_s", took)
    assert min(took) < PLAYS_WITHIN_S


def test_the_video_follows_the_prompt(program, browser, tmp_path, record_property):
    page = visit(browser, f"http://127.0.0.1:{program.port}/")
    page.wait_playing()
    spare: list[float] = []
    for attempt in range(ATTEMPTS):
        for colour, prompt in (("red", RED_ON_BLUE), ("green", GREEN_ON_WHITE)):
            page.page.wait_for_function(f"() => ({SHARE})('{colour}') < {MIN_SHARE}")  # it may be another browser's
            allowed = allowed_s(program)
            type_prompt(page, prompt)
            took = seconds_until_seen(page, colour)
            record_property(f"{colour}_{attempt}", f"{took:.2f} of {allowed:.2f} s")
            spare.append(allowed - took)
            page.page.wait_for_selector('#pp1-receipt [data-step="visible"].done')
            assert int(page.receipt("visible").split("·")[1].split()[0]) <= 2
        if min(spare[-2:]) >= 0:
            break
    page.page.screenshot(path=str(tmp_path / "panel.png"))
    assert min(spare[-2:]) >= 0
    assert page.complaints == []
    page.page.context.close()


H264_ALONE = """() => {
    const usual = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function (...given) {
        const transceiver = usual.apply(this, given), { codecs } = RTCRtpReceiver.getCapabilities("video");
        transceiver.setCodecPreferences(codecs.filter((codec) => codec.mimeType === "video/H264"));
        return transceiver;
    };
}"""


def encoded_s(program: Running, codec: str) -> float:
    """Seconds spent on this codec until now."""
    line = f'pp1_encode_seconds_total{{codec="{codec}"}}'
    return next(float(each.split()[1]) for each in program.get("/metrics")[1].splitlines() if each.startswith(line))


def test_a_browser_with_nothing_but_h264_plays(program, browser, record_property):
    if browser.browser_type.name == "firefox":
        pytest.skip("Firefox downloads its H.264 decoder")
    before = encoded_s(program, "h264")
    with new_context(browser) as context:
        context.add_init_script(f"({H264_ALONE})()")
        page = open_page(context, f"http://127.0.0.1:{program.port}/")
        page.wait_playing()
        page.page.wait_for_function(f"() => Math.max(...({MEAN_COLOUR})()) > 0")
    cost = encoded_s(program, "h264") - before
    record_property("second_encode_s", cost)
    assert cost > 0


def test_pause_holds_the_frame_and_a_hard_cut_starts_a_new_epoch(program, browser):
    page = visit(browser, f"http://127.0.0.1:{program.port}/")
    page.wait_status("Live")
    page.page.click("#pp1-pause")
    page.wait_status("Paused")
    epoch = program.state()["epoch"]
    page.page.click("#pp1-pause")
    page.wait_status("Live")
    page.page.click("#pp1-cut")
    page.page.wait_for_function(f"document.querySelector('[data-figure=\"epoch\"]').textContent === '{epoch + 1}'")
    page.wait_status("Live")


def test_the_page_plays_again_soon_after_the_media_process_was_killed(program, browser):
    """Sooner than the page would notice by itself that no frames come."""
    page = visit(browser, f"http://127.0.0.1:{program.port}/")
    page.wait_playing()
    page.wait_status("Live")
    page.page.evaluate("window.before = document.querySelector('video').srcObject")
    media = media_process(program)
    with stopwatch() as watch:
        media.kill()
        again = "document.querySelector('video').srcObject; return now && now !== window.before && now.active"
        page.page.wait_for_function(f"() => {{ const now = {again} }}")
        page.wait_status("Live")
    assert watch.within(PLAYS_AGAIN_S)
    page.page.context.close()
