"""Every part of the page is inside its box and of the window, accessible, and its focus is visible, at all widths."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from pp1_orchestrator.types import MAX_SEED
from tests.ui.browser import Visit, visit
from tests.ui.page_server import ask
from tests.ui.painted_stream import SIZE

SIZES = [(360, 800), (740, 360), (820, 1180), (1024, 768), (1280, 800), (1920, 1080)]
LOOKED_AT_FIRST = {("light", (360, 800)), ("light", (1280, 800)), ("dark", (820, 1180))}
"""The others take minutes in all, and are for `make slow`."""
SETTLED = """() => Promise.all(document.getAnimations()
    .filter((animation) => animation.effect.getComputedTiming().endTime < Infinity)
    .map((animation) => animation.finished.catch(() => {})))"""
"""A colour that is still changing has a contrast of its own."""
OUTSIDE = """() => {
    const found = [], say = (element, what) => found.push(
        `${what}: ${element.id || element.className || element.tagName} "${element.textContent.trim().slice(0, 30)}"`);
    const parts = "#pp1-header, #pp1-left, #pp1-right";
    const all = [...document.querySelectorAll(parts)].flatMap((part) => [part, ...part.querySelectorAll("*")]);
    for (const element of all) {
        if (!element.checkVisibility() || element.closest(".chips, .sr-only, svg, video")) continue;
        const box = element.getBoundingClientRect(), style = getComputedStyle(element);
        if (!box.width || !box.height) continue;
        if (box.left < -1 || box.right > innerWidth + 1) say(element, "out of the window");
        if (style.display === "inline" || element.matches(".screen, input")) continue;
        const isWide = element.clientWidth && element.scrollWidth > element.clientWidth + 1;
        if (isWide && style.textOverflow !== "ellipsis") say(element, "wider than its box");
        if (isWide && element.clientWidth < 60) say(element, "cut to nothing");
    }
    if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
    return found;
}"""
OVERLAPS = """() => {
    const parts = "figcaption, figure svg, #pp1-live dd, #pp1-live dt, #pp1-ranks li > *, .under > *, "
        + "#pp1-header .bar > *, #pp1-controls > *, .phases li, .badges span, "
        + "#pp1-receipt li, .shelf > *, #pp1-mix .line > *, .entry > *";
    const boxes = [...document.querySelectorAll(parts)].filter((element) => element.checkVisibility())
        .map((element) => [element, element.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
    return boxes.flatMap(([one, a], index) => boxes.slice(index + 1)
        .filter(([other, b]) => !one.contains(other) && !other.contains(one) && meet(a, b))
        .map(([other]) => `${one.textContent} over ${other.textContent}`));
}"""


def opened_wide(page: Page) -> None:
    """Everything that opens is open, with long texts in it."""
    page.click("#pp1-mix summary")
    page.click("#pp1-add")
    page.fill("#pp1-rows input[type=text]", "a blue circle " * 8)
    page.select_option("#pp1-unit", "seconds")
    page.fill("#pp1-steps", "6")
    page.click("#pp1-timeline summary")
    page.click("#pp1-add-entry")
    page.click("#pp1-guide summary")
    page.fill("#pp1-prompt textarea", "Donaudampfschifffahrtsgesellschaftskapitän " * 6)
    page.fill("#pp1-seed input", "none")
    page.click("#pp1-set-seed")
    page.wait_for_selector("#pp1-hint:visible")
    page.wait_for_selector("#pp1-seed-error:visible")


def cases() -> list:
    """Each scheme at each size."""
    every = [(scheme, size) for scheme in ("light", "dark") for size in SIZES]
    return [
        pytest.param(
            case, marks=[] if case in LOOKED_AT_FIRST else pytest.mark.slow, id=f"{case[0]}-{case[1][0]}x{case[1][1]}"
        )
        for case in every
    ]


@pytest.fixture(scope="module", params=cases())
def sized(site, browser, request):
    scheme, (width, height) = request.param
    opened = visit(browser, site.url, width, height, scheme)
    opened.wait_status("Live")
    ask(opened, "a red circle moving left on a blue background, then a green one")
    opened.page.wait_for_selector('#pp1-receipt [data-step="visible"].done')
    yield opened
    opened.page.context.close()


def violations(page: Page) -> list[str]:
    page.evaluate(SETTLED)
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in found]


def test_a_page_has_its_parts_in_their_boxes_and_no_violation(sized: Visit, site):
    page = sized.page
    site.stream.clips.start()
    page.wait_for_selector("#pp1-clip:visible")
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(OVERLAPS) == []
    assert violations(page) == []
    site.stream.clips.stop()
    caption = page.locator("#pp1-caption").bounding_box()
    assert caption is not None
    assert caption["width"] >= 150
    background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    is_light = page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
    assert (sum(background[:3]) > 384) is is_light


def test_the_picture_is_large_and_in_sight(sized: Visit):
    size = sized.page.viewport_size
    screen = sized.page.locator(".screen").bounding_box()
    assert size is not None
    assert screen is not None
    assert screen["y"] + screen["height"] <= size["height"]
    assert screen["width"] > min(0.38 * size["width"], 0.65 * size["height"])
    assert screen["width"] > SIZE


def test_the_note_about_the_link_can_be_read(sized: Visit):
    page = sized.page
    page.click("#pp1-open-share")
    page.wait_for_function("document.querySelector('#pp1-share-note').textContent !== ''")
    note = page.locator("#pp1-share-note")
    assert note.is_visible()
    assert note.evaluate("note => note.scrollWidth <= note.clientWidth")
    page.keyboard.press("Escape")


def test_a_label_of_a_button_is_in_one_line(sized: Visit):
    heights = sized.page.eval_on_selector_all("#pp1-controls button", "all => all.map((button) => button.clientHeight)")
    assert max(heights) - min(heights) <= 2


def test_the_longest_seed_can_be_read(sized: Visit):
    field = sized.page.locator("#pp1-seed input")
    shown = field.input_value()
    field.fill(str(MAX_SEED))
    assert field.evaluate("field => field.scrollWidth <= field.clientWidth")
    field.fill(shown)


def test_what_opens_stays_in_its_box_and_has_no_violation(sized: Visit):
    opened_wide(sized.page)
    assert sized.page.evaluate(OUTSIDE) == []
    assert sized.page.evaluate(OVERLAPS) == []
    assert violations(sized.page) == []


@pytest.mark.parametrize("popover", ["keys", "me"])
def test_a_popover_is_inside_the_window_and_has_no_violation(sized: Visit, popover):
    page = sized.page
    page.click(f"[popovertarget=pp1-{popover}]")
    box = page.locator(f"#pp1-{popover}").bounding_box()
    assert box is not None
    assert page.viewport_size is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page.viewport_size["width"]
    assert box["y"] + box["height"] <= page.viewport_size["height"]
    assert violations(page) == []
    page.keyboard.press("Escape")


FOCUS = """selector => {
    const field = document.querySelector(selector), plain = getComputedStyle(field);
    const look = () => [plain.outlineStyle, plain.outlineWidth, plain.boxShadow, plain.borderColor].join();
    field.blur();
    const before = look();
    field.focus();
    return [before, look()];
}"""


@pytest.mark.parametrize("selector", ["#pp1-prompt textarea", "#pp1-seed input", "#pp1-name", "#pp1-steps"])
def test_a_field_shows_that_it_has_the_focus(page, selector):
    page.page.click("#pp1-mix summary")
    if selector == "#pp1-name":
        page.page.click("#pp1-who")
    plain, focused = page.page.evaluate(FOCUS, selector)
    assert plain != focused
    assert "solid,2px" in focused


def test_everything_to_press_says_what_it_does(page):
    """By a tooltip, as the quick start promises."""
    page.page.click("#pp1-mix summary")
    silent = page.page.evaluate("""() => [...document.querySelectorAll(
            "#pp1-header button, #pp1-status, #pp1-stage button, #pp1-apply, #pp1-controls button, #pp1-seed input, "
            + "#pp1-mix summary, #pp1-mix select, #pp1-steps, #pp1-timeline button, .figures div, figure, .badges span")
        ]
        .filter((element) => element.checkVisibility() && !element.closest("[title]"))
        .map((element) => element.outerHTML)""")
    assert silent == []


def test_the_buttons_of_the_header_are_in_one_line(page):
    boxes = page.page.eval_on_selector_all(
        "#pp1-header .pp1-small", "all => all.map((each) => each.getBoundingClientRect()).filter(({ width }) => width)"
    )
    assert len(boxes) >= 4  # Name, Take control, Share, ?
    assert max(box["top"] for box in boxes) - min(box["top"] for box in boxes) <= 0.5  # pixels
