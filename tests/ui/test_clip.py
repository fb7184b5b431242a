"""Recording from the page: the downloaded file plays and shows what was seen."""

import av

from tests.ui.page_server import GREEN, RED, ask
from tests.ui.painted_stream import COLOURS, FPS, SIZE


def test_a_clip_is_recorded_downloaded_and_plays(page, tmp_path):
    ask(page, "a red circle")
    page.wait_colour(RED)
    page.page.click("#pp1-record")
    page.page.wait_for_selector("#pp1-record[aria-pressed=true]")
    assert page.page.inner_text("#pp1-record") == "Stop"
    page.page.wait_for_function("() => /^0:0[1-9] · \\d+ kB$/.test(document.querySelector('#pp1-clip').textContent)")
    ask(page, "a green circle")
    page.wait_colour(GREEN)
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("r")
    page.page.wait_for_selector("#pp1-clip[data-state=ready]")
    assert page.page.inner_text("#pp1-clip").startswith("Download · 0:0")
    with page.page.expect_download() as download:
        page.page.click("#pp1-clip")
    assert download.value.suggested_filename == "pp1-c1.mp4"
    download.value.save_as(tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        seconds = (container.duration or 0) / av.time_base
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert seconds > 1
    assert 0.5 * FPS < len(frames) / seconds < 1.5 * FPS
    for picture, colour in ((frames[0], "red"), (frames[-1], "green")):
        assert abs(picture[SIZE // 2, SIZE // 2].astype(int) - COLOURS[colour]).max() < 30
    assert page.complaints == []


def test_everybody_sees_that_a_clip_is_recorded(page, site):
    site.stream.clips.start()
    page.page.wait_for_selector("#pp1-clip[data-state=recording]")
    site.stream.clips.stop()
    page.page.wait_for_selector("#pp1-clip[data-state=ready]")
