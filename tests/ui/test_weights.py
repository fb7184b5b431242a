"""A slider of a blend that is shown changes the picture while it moves; one drag is one step back."""

from pp1_orchestrator.types import PromptUpdate, Transition
from tests.ui.browser import Visit
from tests.ui.page_server import BLUE, RED, PageServer
from tests.ui.test_blend import SLIDER, TEXT, add, open_form
from tests.ui.test_history import CHIPS, wait_newest

MOVES = 40
DRAG = """([selector, values]) => new Promise((done) => {
    const slider = document.querySelector(selector), left = [...values];
    const move = () => {
        if (!left.length) return done();
        slider.value = left.shift();
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        setTimeout(move, 50);
    };
    move();
})"""
MOVE_AND_APPLY = """(selector) => {
    const slider = document.querySelector(selector);
    slider.value = 70;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    document.querySelector("#pp1-apply").click();
}"""


def blend(page: Visit) -> None:
    page.page.wait_for_selector(f"{CHIPS}[aria-current=true]")
    open_form(page)
    page.page.fill("#pp1-prompt textarea", "a red circle")
    add(page, 2, "a blue circle", 20)
    page.page.fill(SLIDER.format(1), "80")
    page.page.click("#pp1-apply")
    wait_newest(page, "80 % a red circle + 20 % a blue circle")
    page.wait_colour(RED)


def drag(page: Visit, row: int, first: int, last: int) -> None:
    values = [round(first + (last - first) * step / MOVES) for step in range(1, MOVES + 1)]
    page.page.evaluate(DRAG, [SLIDER.format(row), values])


def weights(site: PageServer) -> list[float]:
    return [prompt.weight for prompt in site.stream.updates[-1].prompts]


def test_the_picture_follows_a_slider_and_a_drag_is_one_step(page, site):
    blend(page)
    before = len(site.stream.updates)
    drag(page, 1, 80, 4)
    page.wait_colour(BLUE)
    site.until(lambda: weights(site) == [0.04, 0.2])
    sent = site.stream.updates[before:]
    assert 2 <= len(sent) <= MOVES // 5, "not one for every move"
    assert all(update.cut == "soft" and update.transition is None for update in sent)
    wait_newest(page, "17 % a red circle + 83 % a blue circle")
    page.page.evaluate("document.activeElement.blur()")
    page.page.keyboard.press("z")
    page.wait_colour(RED)
    site.until(lambda: weights(site) == [0.8, 0.2])


def test_a_slider_of_a_form_that_is_not_shown_waits_for_apply(page, site):
    blend(page)
    page.page.fill(TEXT.format(2), "a green circle")
    before = len(site.stream.updates)
    drag(page, 1, 80, 10)
    page.page.click("#pp1-apply")
    site.until(lambda: len(site.stream.updates) > before)
    assert len(site.stream.updates) == before + 1
    assert [prompt.text for prompt in site.stream.updates[-1].prompts] == ["a red circle", "a green circle"]


def test_a_slider_does_not_take_the_picture_from_another_client(page, site):
    blend(page)
    site.stream.update_prompt(PromptUpdate("a blue star"))
    page.page.wait_for_function("document.querySelector('#pp1-caption span').textContent === 'a blue star'")
    before = len(site.stream.updates)
    drag(page, 1, 80, 10)
    page.page.click("#pp1-snapshot")
    assert len(site.stream.updates) == before


def test_a_slider_moved_just_before_apply_sends_nothing_of_its_own(page, site):
    blend(page)
    page.page.fill("#pp1-steps", "8")
    before = len(site.stream.updates)
    page.page.evaluate(MOVE_AND_APPLY, SLIDER.format(1))
    site.until(lambda: len(site.stream.updates) > before)
    page.page.wait_for_timeout(1000)  # the interval of a slider's updates is 600 ms
    assert [update.transition for update in site.stream.updates[before:]] == [Transition(8)]
