"""A file as endless frames: looped, held at its end, and held with a word where it can't be read any more."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from pp1_orchestrator.media.mp4 import Mp4File
from pp1_orchestrator.media.png import write_png
from pp1_orchestrator.media.source_frames import SourceFrames

SIZE = (32, 48)


def grey(value: int) -> np.ndarray:
    return np.full((*SIZE, 3), value, dtype=np.uint8)


def write_video(path, values, times=None):
    """Grey frames of these values, at these tenths of seconds."""
    with Mp4File(path, 10, *SIZE, Fraction(1, 10)) as file:
        for index, value in enumerate(values):
            file.write(grey(value), times[index] if times else index)
    return path


def shades(frames, count: int) -> list[int]:
    return [round(float(frame.mean()) / 10) * 10 for frame in itertools.islice(frames, count)]


def open_file(path, loop: bool = True) -> SourceFrames:
    return SourceFrames(path, 10, SIZE, "crop", loop=loop)


def test_a_video_loops(tmp_path):
    source = open_file(write_video(tmp_path / "v.mp4", [50, 100, 150]))
    assert shades(source.video(), 7) == [50, 100, 150, 50, 100, 150, 50]
    assert source.state == "playing"


def test_a_video_is_held_at_its_end(tmp_path, caplog):
    source = open_file(write_video(tmp_path / "v.mp4", [50, 100, 150]), loop=False)
    with caplog.at_level("INFO"):
        assert shades(source.video(), 6) == [50, 100, 150, 150, 150, 150]
    assert source.state == "ended"
    assert "has ended; its last frame stays" in caplog.text


def test_frames_of_uneven_length_last_as_long_as_in_the_file(tmp_path):
    source = open_file(write_video(tmp_path / "v.mp4", [50, 100, 150], [0, 1, 4]), loop=False)
    assert shades(source.video(), 6) == [50, 100, 100, 100, 150, 150]


def test_a_file_that_vanishes_holds_its_last_frame_and_says_so(tmp_path, caplog):
    path = write_video(tmp_path / "v.mp4", [50, 100])
    source = open_file(path)
    frames = source.video()
    assert shades(frames, 2) == [50, 100]
    path.unlink()
    assert shades(frames, 4) == [100, 100, 100, 100]
    assert source.state == "failed"
    assert "the input's last frame stays" in caplog.text


def test_a_truncated_file_plays_as_far_as_it_goes(tmp_path):
    path, values = tmp_path / "v.ts", range(0, 250, 5)
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for value in values:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(value), format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_file(path, loop=False)
    found = shades(source.video(), 2 * len(values))
    assert source.state == "ended"
    assert 100 <= found[-1] <= 150
    assert found == sorted(found)


def test_the_pictures_of_a_folder_are_frames_in_the_order_of_their_names(tmp_path):
    for name, value in (("b.png", 100), ("a.png", 50), ("c.png", 150)):
        write_png(grey(value), tmp_path / name)
    (tmp_path / ".hidden").write_text("no picture")
    assert shades(open_file(tmp_path).video(), 5) == [50, 100, 150, 50, 100]
    held = open_file(tmp_path, loop=False)
    assert shades([held.first()], 1) == [50]
    assert shades(held.video(), 5) == [50, 100, 150, 150, 150]
    assert held.state == "ended"


def test_an_empty_folder_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="no file in this folder"):
        open_file(tmp_path).first()


def test_an_image_is_one_frame_for_ever(tmp_path):
    write_png(grey(120), tmp_path / "still.png")
    assert shades(open_file(tmp_path / "still.png").still(), 3) == [120, 120, 120]


@pytest.mark.parametrize("content", [None, b"", b"no picture at all"])
def test_what_is_no_picture_is_refused_by_name(tmp_path, content):
    path = tmp_path / "input"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match="input: "):
        open_file(path).first()
