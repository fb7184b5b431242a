"""The page in a real browser, over the real server and media parts, with a stream that paints plain colours."""

import asyncio
import gc

import httpx
import pytest
from fastapi import FastAPI
from playwright.sync_api import expect

from pp1_orchestrator.types import Control
from pp1_orchestrator.ui import mount_panel
from tests.ui.browser import IN_BOTH
from tests.ui.page_server import GREEN, RED, ask


@IN_BOTH
@pytest.mark.parametrize("key", ["Enter", "Control+Enter", None])
def test_a_typed_prompt_is_accepted_applied_and_seen(page, site, key):
    page.wait_playing()
    ask(page, "a red circle", key)
    page.wait_colour(RED)
    page.page.wait_for_selector('#pp1-receipt [data-step="visible"].done')
    assert page.receipt("accepted").startswith("u")
    assert page.receipt("applied").startswith("chunk ")
    assert page.receipt("visible") == "123 ms · 1 chunk"
    ask(page, "a green triangle", key)
    page.wait_colour(GREEN)
    assert page.page.inner_text("#pp1-caption span") in ("a red circle", "a green triangle")
    assert page.complaints == []


def test_an_example_is_one_click(page):
    chip = page.page.locator("#pp1-examples .chips button").first
    chip.click()
    page.wait_colour(RED)
    assert page.page.input_value("#pp1-prompt textarea") == chip.inner_text()


@IN_BOTH
def test_the_page_sends_requests_to_its_own_server_only(page, site):
    page.wait_playing()
    assert len(page.requests) > 10
    assert [url for url in page.requests if not url.startswith((site.url, "data:", "blob:"))] == []


def test_buttons_send_their_commands(page, site):
    site.stream.commands.clear()
    page.page.click("#pp1-pause")
    page.wait_status("Paused")
    page.page.click("#pp1-pause")
    page.wait_status("Live")
    page.page.click("#pp1-cut")
    page.page.fill("#pp1-seed input", "7")
    page.page.click("#pp1-set-seed")
    expected = [Control("pause"), Control("resume"), Control("hard_cut"), Control("seed", 7)]
    site.until(lambda: len(site.stream.commands) == len(expected))
    assert site.stream.commands == expected


@IN_BOTH
def test_an_error_is_shown_in_one_line(page):
    ask(page, " ")
    page.page.wait_for_selector("#pp1-error:visible")
    assert page.page.inner_text("#pp1-error") == "Type a prompt first."
    ask(page, "a red circle")
    page.page.wait_for_selector("#pp1-error", state="hidden")


def test_figures_and_choices_are_those_of_the_server(page, site):
    expect(page.page.locator('[data-figure="viewers"]')).to_have_text("1")
    expect(page.page.locator('[data-figure="fps"]')).to_have_text("16.0")
    expect(page.page.locator('[data-choice="layout"] em')).to_have_text("inline")
    expect(page.page.locator('[data-phase="decode"] span')).to_have_text("4.0")
    expect(page.page.locator("#pp1-seed input")).to_have_value(str(site.stream.seed))


@IN_BOTH
def test_a_viewer_that_the_server_drops_comes_back_by_itself(page, site):
    page.wait_playing()
    site.until(lambda: site.peers.count == 1)
    (viewer_id,) = site.peers._viewers
    assert httpx.delete(f"{site.url}whep/{viewer_id}", timeout=120).status_code == 200
    site.until(lambda: site.peers.count == 1 and viewer_id not in site.peers._viewers)
    page.wait_status("Live")
    ask(page, "a red circle")
    page.wait_colour(RED)


@IN_BOTH
def test_a_server_that_comes_back_is_found_again(page, site):
    page.wait_playing()
    site.stop()
    page.wait_status("Disconnected")
    site.start()
    page.wait_status("Live")
    ask(page, "a green triangle")
    page.wait_colour(GREEN)
    page.page.wait_for_selector('#pp1-receipt [data-step="visible"].done')


@IN_BOTH
def test_a_closed_tab_leaves_at_once(page, site):
    page.wait_playing()
    site.until(lambda: site.peers.count == 1)
    page.page.goto("about:blank")
    site.until(lambda: site.peers.count == 0)


def open_loops() -> int:
    return sum(issubclass(type(each), asyncio.BaseEventLoop) and not each.is_closed() for each in gc.get_objects())


def test_the_pages_framework_leaves_no_event_loop_open():
    before = open_loops()
    mount_panel(FastAPI(), max_prompts=8, max_prompt_chars=2000, max_transition_steps=1000)
    assert open_loops() == before


def test_files_and_queues_of_the_pages_framework_are_not_there(site):
    for path in ("gradio_api/info", "gradio_api/file=/etc/passwd", "config", "gradio_api/proxy=http://127.0.0.1:1/"):
        assert httpx.get(site.url + path, timeout=120).status_code == 404
    for path in ("gradio_api/upload", "gradio_api/queue/join", "gradio_api/run/predict"):
        assert httpx.post(site.url + path, content=b"{}", timeout=120).status_code == 404
    assert httpx.post(site.url, timeout=120).status_code == 405
