"""What the page shows of the stream: figures over time, processes, and every state and its recovery."""

import re
import time
from typing import Any

import numpy
import pytest
from PIL import Image
from playwright.sync_api import expect

from pp1_orchestrator.media.media_settings import PeerLimits
from pp1_orchestrator.types import PromptUpdate
from tests.ui.browser import IN_BOTH, WAIT_S, Visit, new_context, visit
from tests.ui.page_server import RED, ask
from tests.ui.painted_stream import COLOURS, SIZE

VEIL = "#pp1-veil:not(.clear) span"
FPS = "document.querySelector('[data-figure=fps]').textContent"
GIVES_UP_SOON = "const late = AbortSignal.timeout; AbortSignal.timeout = (ms) => late.call(AbortSignal, ms / 10);"


@pytest.fixture(autouse=True)
def stream_goes_on(site):
    """A test that fails in the middle of a fault costs no other one."""
    yield
    site.stream.life = "ready"
    site.stream.stalled.clear()


def count(page: Any, selector: str) -> int:
    return page.page.locator(selector).count()


def test_charts_grow_with_the_stream(page):
    page.page.wait_for_function("document.querySelectorAll('#pp1-chart-phases rect').length >= 12")
    page.page.wait_for_function("document.querySelector('#pp1-chart-fps polyline')?.points.length >= 3")
    assert count(page, "#pp1-chart-fps .target") == 1
    assert page.page.inner_text("#pp1-target") == "target 16"
    said = page.page.get_attribute("#pp1-chart-phases", "aria-label")
    assert said == "Milliseconds a chunk, newest: denoise 2, context 3, decode 4, text 1"
    heights = page.page.eval_on_selector_all(
        "#pp1-chart-phases rect", "all => all.slice(-4).map((rect) => Number(rect.getAttribute('height')))"
    )
    assert heights == [8, 12, 16, 4]


def test_each_update_that_is_seen_becomes_a_bar(page):
    for number in range(3):
        ask(page, f"a red circle {number}")
        page.page.wait_for_function(f"document.querySelectorAll('#pp1-chart-latency .bar').length === {number + 1}")
    assert "123 ms" in (page.page.get_attribute("#pp1-chart-latency", "aria-label") or "")


def test_the_page_connects_again_when_the_media_process_is_a_new_one(page, site):
    page.page.evaluate("window.before = document.querySelector('video').srcObject")
    site.stream.events.publish("media", state="restarting", reason="death", text="was ended by SIGSEGV")
    site.stream.events.publish("media", state="up", reason=None, text="")
    page.page.wait_for_function("![null, window.before].includes(document.querySelector('video').srcObject)")
    page.wait_status("Live")


def test_each_process_is_shown_with_state_and_memory(page, site):
    row = page.page.locator("#pp1-ranks li").first
    assert row.inner_text().split() == ["rank", "0", "cpu", "4.0", "MB", "process", "512", "MB"]
    assert row.locator(".bar").get_attribute("title") == "vae decoder 3.0 MB, text encoder 1.0 MB"
    widths = row.locator(".bar i").evaluate_all("all => all.map((part) => part.style.width)")
    assert widths == ["75%", "25%"]
    up = site.stream.ranks
    site.stream.ranks = {**up, "1": {"pid": 2, "device": "cuda:1", "state": "down"}}
    site.stream.events.publish("rank", rank=1, state="down")
    lost = page.page.locator("#pp1-ranks li[data-state=down]")
    lost.wait_for()
    assert lost.inner_text().split()[:3] == ["rank", "1", "down"]
    assert lost.get_attribute("title") == "rank 1: down, process 2 on cuda:1"
    site.stream.ranks = up


def test_settings_fixed_for_the_run_are_shown(page):
    said = {key: page.page.inner_text(f"[data-choice={key}] em") for key in ("steps", "size", "fps", "layout")}
    assert said == {"steps": "4", "size": f"{SIZE}×{SIZE}", "fps": "16", "layout": "inline"}


def test_a_snapshot_is_the_frame_as_a_png(page, tmp_path):
    ask(page, "a red circle")
    page.wait_colour(RED)
    with page.page.expect_download() as download:
        page.page.click("#pp1-snapshot")
    assert download.value.suggested_filename.startswith("pp1-chunk-")
    download.value.save_as(tmp_path / "snapshot.png")
    with Image.open(tmp_path / "snapshot.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (SIZE, SIZE))
        centre = numpy.asarray(picture.convert("RGB"))[SIZE // 2, SIZE // 2].astype(int)
    assert abs(centre - COLOURS["red"]).max() < 30


@IN_BOTH
def test_a_pause_is_shown_over_the_video_and_has_keys(page, site):
    page.wait_playing()
    page.page.keyboard.press("Space")
    page.wait_status("Paused")
    assert page.page.get_attribute("#pp1-veil", "aria-hidden") == "false"
    assert page.page.get_attribute("#pp1-status", "title") == "Paused: the last frame is shown"
    expect(page.page.locator(VEIL)).to_have_text("Paused: the last frame is shown")
    page.page.keyboard.press("Space")
    page.wait_status("Live")
    site.stream.commands.clear()
    page.page.keyboard.press("c")
    site.until(lambda: [command.action for command in site.stream.commands] == ["hard_cut"])


@pytest.mark.parametrize(("key", "shown"), [("b", "#pp1-add"), ("t", "#pp1-add-entry"), ("?", "#pp1-keys")])
def test_a_key_opens_and_closes(page, key, shown):
    page.page.keyboard.press(key)
    page.page.wait_for_selector(shown)
    page.page.keyboard.press(key)
    page.page.wait_for_selector(shown, state="hidden")


def test_keys_that_are_typed_are_text(page, site):
    site.stream.commands.clear()
    page.page.keyboard.press("p")
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("c b t s ?")
    assert page.page.input_value("#pp1-prompt textarea") == "c b t s ?"
    assert page.page.locator("#pp1-add").is_hidden()
    assert site.stream.commands == []


@IN_BOTH
def test_a_stalled_stream_is_shown_and_recovers(page, site):
    page.wait_playing()
    site.stream.stalled.set()
    page.wait_status("Stalled")
    expect(page.page.locator(VEIL)).to_have_text(re.compile("No new chunk for "))
    page.page.wait_for_function(f"{FPS} === '0.0'")
    site.stream.stalled.clear()
    page.wait_status("Live")
    page.page.wait_for_function(f"{FPS} === '16.0'")
    page.page.wait_for_selector(VEIL, state="hidden")
    assert page.page.get_attribute("#pp1-veil", "aria-hidden") == "true"
    assert page.page.inner_text("#pp1-veil") == "", "a screen reader has nothing to read there"


@IN_BOTH
def test_a_restarting_mesh_is_shown_and_the_frame_stays(page, site):
    page.wait_playing()
    site.stream.life = "restarting"
    site.stream.events.publish("restarting", reason="death", text="rank 1 ended with exit code -9", generation=1)
    page.wait_status("Restarting")
    expect(page.page.locator(VEIL)).to_have_text("The mesh failed and restarts")
    assert page.page.get_attribute("#pp1-veil", "data-kind") == "stalled"
    site.stream.life = "ready"
    site.stream.events.publish("restarted", generation=1)
    page.wait_status("Live")
    page.page.wait_for_selector(VEIL, state="hidden")


@IN_BOTH
@pytest.mark.slow
def test_a_page_too_many_waits_for_a_free_place(site, browser):
    site.stop()
    site.start(PeerLimits(viewers=1))
    first = visit(browser, site.url)
    first.wait_playing()
    second = visit(browser, site.url)
    second.wait_status("Full")
    expect(second.page.locator(VEIL)).to_have_text("all 1 viewer places are taken. Trying again every few seconds.")
    ask(second, "a red circle")
    first.wait_colour(RED)
    first.page.context.close()
    second.wait_status("Live")
    second.wait_colour(RED)
    second.page.context.close()
    site.stop()
    site.start()


@IN_BOTH
def test_an_unanswered_offer_is_sent_again(site, browser):
    """With a tenth of the request timeout, which is ten seconds."""
    offers = []

    def answer_all_but_the_first(route):
        is_offer = route.request.method == "POST"
        offers.extend([route] if is_offer else [])
        if not is_offer or len(offers) > 1:
            route.continue_()

    with new_context(browser) as context:
        context.add_init_script(GIVES_UP_SOON)
        page = context.new_page()
        page.route("**/whep", answer_all_but_the_first)
        page.goto(site.url)
        Visit(page).wait_playing()  # over TCP, where the machine is too busy for the second offer to come first
        ends_s = time.monotonic() + WAIT_S
        while len(offers) < 2 and time.monotonic() < ends_s:
            page.wait_for_timeout(50)
    assert len(offers) >= 2


@IN_BOTH
def test_a_receipt_does_not_wait_forever_after_a_broken_connection(page, site):
    page.wait_playing()
    site.stream.stalled.set()
    ask(page, "a green circle")
    page.page.wait_for_selector('#pp1-receipt [data-step="accepted"].done')
    site.stop()
    shown = "document.querySelector('#pp1-receipt [data-step=visible] span').textContent"
    page.page.wait_for_function(f"{shown} === 'the connection broke meanwhile'")
    page.wait_status("Disconnected")
    site.stream.stalled.clear()
    site.start()
    page.wait_status("Live")


def test_a_page_to_which_a_browser_goes_back_plays_and_hears_of_events(page, site):
    """What a browser tells a page that it has kept, as phones do with each one that is left."""
    for kind in ("pagehide", "pageshow"):
        page.page.evaluate("kind => dispatchEvent(new PageTransitionEvent(kind, { persisted: true }))", kind)
    page.wait_playing()

    def is_heard() -> bool:
        site.stream.update_prompt(PromptUpdate("a blue star"))  # of another client
        page.page.wait_for_timeout(200)
        return count(page, '#pp1-receipt [data-step="accepted"].done') == 1

    site.until(is_heard)


def test_everything_that_can_be_used_has_a_name(page):
    page.page.click("#pp1-mix summary")
    page.page.click("#pp1-add")
    page.page.click("#pp1-timeline summary")
    page.page.click("#pp1-add-entry")
    nameless = page.page.evaluate("""() => [...document.querySelectorAll("#pp1-header, #pp1-left, #pp1-right")]
        .flatMap((part) => [...part.querySelectorAll("button, input, select, textarea, summary, video, svg[role]")])
        .filter((element) => element.offsetParent !== null || element.matches("svg"))
        .filter((element) => !(element.getAttribute("aria-label") || element.labels?.length || element.innerText))
        .map((element) => element.outerHTML)""")
    assert nameless == []
