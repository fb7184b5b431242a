"""What viewers see: the picture alone, on the whole screen, from a link; and the page of one who may only watch."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.ui.browser import WIDTH, Visit, new_context, open_page
from tests.ui.page_server import BLUE, RED, PageServer

TOKEN, VIEW = "a token for operators", "a token for viewers"
BOXES = """() => ["main", "video"].map((name) => {
    const { x, y, width, height } = document.querySelector(name).getBoundingClientRect();
    return [x, y, width, height];
})"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[PageServer]:
    with contextlib.closing(PageServer(token=TOKEN, view_token=VIEW)) as site:
        yield site


@pytest.fixture
def screen(browser, site) -> Iterator[Visit]:
    with new_context(browser, 1920, 1080) as context:
        page = open_page(context, f"{site.url}watch")
        page.wait_playing()
        yield page


def style(page: Visit, selector: str, name: str) -> str:
    return page.page.eval_on_selector(selector, f"element => getComputedStyle(element).{name}")


def test_the_picture_is_alone_on_black(screen, site):
    site.stream.prompt = "a red circle"
    screen.wait_colour(RED)
    assert screen.page.evaluate(BOXES) == [[0, 0, 1920, 1080]] * 2
    assert screen.page.inner_text("body") == ""
    assert [style(screen, "video", name) for name in ("objectFit", "cursor")] == ["contain", "none"]
    assert style(screen, "main", "backgroundColor") == "rgb(0, 0, 0)"
    assert screen.complaints == []


@pytest.mark.parametrize(("query", "fit"), [("cover", "cover"), ("contain", "contain"), ("x", "contain")])
def test_it_fills_the_window_on_request(context, site, query, fit):
    page = open_page(context, f"{site.url}watch?fit={query}")
    assert style(page, "video", "objectFit") == fit
    page.page.close()


@pytest.mark.slow
def test_the_picture_comes_back_after_restarts(screen, site):
    for prompt, colour in (("a blue circle", BLUE), ("a red circle", RED)):
        site.stop()
        site.stream.prompt = prompt
        screen.page.wait_for_function("document.body.dataset.state !== 'live'")
        site.start()
        screen.page.wait_for_function("document.body.dataset.state === 'live'")
        screen.wait_colour(colour)
    assert screen.page.evaluate("Math.max(...pp1.Player.RETRY_MS)") <= 2000
    assert site.peers.count == 1


def test_f_a_double_click_and_a_button_fill_the_screen(page):
    is_full = "document.fullscreenElement !== null"
    for change in (
        lambda: page.page.keyboard.press("f"),
        lambda: page.page.dblclick("#pp1-stage .screen"),
        lambda: page.page.click("#pp1-fullscreen"),
    ):
        change()
        page.page.wait_for_function(is_full)
        assert page.page.eval_on_selector(".screen", "element => element === document.fullscreenElement")
        page.page.keyboard.press("f")
        page.page.wait_for_function(f"!({is_full})")


def test_an_operator_hands_out_a_link_that_plays(browser, guarded):
    with new_context(browser) as desk:
        page = open_page(desk, f"{guarded.url}?token={TOKEN}")
        page.wait_status("Live")
        page.page.click("#pp1-open-share")
        page.page.wait_for_function("document.querySelector('#pp1-share-link').value !== ''")
        link = page.page.input_value("#pp1-share-link")
        page.page.wait_for_function("document.querySelector('#pp1-qr').naturalWidth > 100")
        assert "this machine only" in page.page.inner_text("#pp1-share-note")
        assert page.complaints == []
    assert TOKEN not in link
    with new_context(browser) as elsewhere:
        viewer = open_page(elsewhere, link)
        viewer.wait_playing()
        assert viewer.page.url == f"{guarded.url}watch"


def test_who_may_only_watch_gets_a_viewers_page(browser, guarded):
    with new_context(browser) as context:
        page = open_page(context, f"{guarded.url}?token={VIEW}")
        page.wait_status("Live")
        page.wait_playing()
        page.page.wait_for_selector("body.pp1-viewer")
        for hidden in ("prompt", "apply", "controls", "record", "open-share", "lease", "timeline", "receipt"):
            assert page.page.locator(f"#pp1-{hidden}").is_hidden(), hidden
        for shown in ("video", "caption", "snapshot", "fullscreen", "live"):
            assert page.page.locator(f"#pp1-{shown}").is_visible(), shown
        keys = page.page.locator("[popovertarget=pp1-keys]").bounding_box()
        assert keys is not None
        assert keys["x"] + keys["width"] > 0.95 * WIDTH, "on the right, as for operators"
        page.page.keyboard.press("Space")
        page.page.keyboard.press("c")
        assert page.page.locator("#pp1-error").is_hidden()
    assert guarded.stream.commands == []
