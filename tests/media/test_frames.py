"""Frames of yuv420p planes work wherever RGB frames do."""

import av
import numpy as np
import pytest

from pp1_orchestrator.media.frames import to_rgb, to_yuv420p
from pp1_orchestrator.media.media_settings import TIME_BASE
from pp1_orchestrator.media.mp4 import Mp4File
from tests.media.numbered_frames import SIZE, numbered, read_number


def as_planes(number: int) -> np.ndarray:
    return to_yuv420p(numbered(number)).to_ndarray()


@pytest.mark.parametrize("width", [48, 80])
def test_rows_that_a_codec_pads_keep_their_places(width):
    frame = np.arange(96 * width, dtype=np.uint8).reshape(96, width)
    assert np.array_equal(to_yuv420p(frame).to_ndarray(), frame)


def test_either_form_can_be_looked_at():
    assert read_number(to_rgb(as_planes(9))) == 9
    assert to_rgb(numbered(9)).shape == to_rgb(as_planes(9)).shape == (SIZE, SIZE, 3)


def test_planes_are_taken_as_they_are_and_copied():
    frame = as_planes(5)
    video_frame = to_yuv420p(frame)
    assert (video_frame.format.name, video_frame.width, video_frame.height) == ("yuv420p", SIZE, SIZE)
    assert np.array_equal(video_frame.to_ndarray(), frame)
    frame[:] = 0
    assert read_number(video_frame.to_ndarray(format="rgb24")) == 5


@pytest.mark.parametrize("form", [numbered, as_planes])
def test_a_file_holds_either_form(form, tmp_path):
    with Mp4File(tmp_path / "a.mp4", 16, SIZE, SIZE, TIME_BASE) as file:
        for number in range(20):
            file.write(form(number), number * 5625)
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert [read_number(frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)] == list(range(20))
