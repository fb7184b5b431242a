"""Inputs of rank 0: what a chunk asks for, frames that wait, and files as frames of a stream's rate and size."""

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

from pp1_orchestrator.media.input_files import read_image, read_video, to_size
from pp1_orchestrator.media.input_queue import InputQueue, resample_evenly
from pp1_orchestrator.media.input_requirements import InputRequirements, resolve_input
from pp1_orchestrator.media.mp4 import Mp4File
from pp1_orchestrator.media.png import write_png

av = pytest.importorskip("av")
SIZE = (32, 48)


def grey(value: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), value, dtype=np.uint8)


def write_video(path, values, times, rate=10):
    """Grey frames of these values at these tenths of seconds."""
    with Mp4File(path, rate, *SIZE, Fraction(1, 10)) as file:
        for value, time in zip(values, times, strict=True):
            file.write(grey(value), time)
    return path


def shades(frames) -> list[int]:
    """Mean grey in steps of ten: a codec changes it a little."""
    return [round(float(frame.mean()) / 10) * 10 for frame in frames]


@pytest.mark.parametrize(
    ("mode", "first", "later"),
    [("none", 0, 0), ("image_start", 9, 0), ("noise", 9, 12), ("motion_noise", 9, 12), ("history", 9, 12)],
)
def test_a_mode_says_how_many_frames_a_chunk_takes(mode, first, later):
    found = resolve_input(mode, 3, 4, (320, 576), 16)
    assert found == InputRequirements(first, later, 320, 576)
    assert [found.input_frames(first=True), found.input_frames(first=False)] == [first, later]


@pytest.mark.parametrize(
    ("mode", "size", "line"),
    [
        ("nois", (64, 64), "source.mode=nois: must be one of none, image_start, noise, motion_noise, history"),
        ("noise", (60, 64), "stream.height=60: must be a positive multiple of 16"),
        ("noise", (64, 0), "stream.width=0: must be a positive multiple of 16"),
    ],
)
def test_what_is_impossible_is_named(mode, size, line):
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        resolve_input(mode, 3, 4, size, 16)


@pytest.mark.parametrize(
    ("there", "count", "expected"),
    [
        (12, 12, range(12)),
        (24, 12, [0, 2, 4, 6, 8, 10, 13, 15, 17, 19, 21, 23]),
        (3, 5, [0, 1, 1, 2, 2]),
        (1, 4, [0] * 4),
    ],
)
def test_frames_are_resampled_evenly(there, count, expected):
    assert resample_evenly(range(there), count) == list(expected)


def test_resampling_keeps_the_order_and_both_ends():
    for there, count in itertools.product(range(1, 40), range(2, 14)):
        chosen = resample_evenly(range(there), count)
        assert len(chosen) == count
        assert (chosen[0], chosen[-1]) == (0, there - 1)
        assert max(np.diff(chosen)) - min(np.diff(chosen)) <= 1
    assert resample_evenly(range(5), 1) == [4]
    with pytest.raises(ValueError, match="no frames"):
        resample_evenly([], 3)


def test_a_full_queue_keeps_the_newest_and_counts_the_others():
    queue = InputQueue(4)
    for value in range(10):
        queue.put(grey(value))
    assert len(queue) == 4
    assert [int(frame[0, 0, 0]) for frame in queue.take(4)] == [6, 7, 8, 9]
    assert queue.dropped["late"] == 6
    assert queue.take(4) == []


def test_a_hard_cut_flushes_the_queue():
    queue = InputQueue(4)
    for value in range(3):
        queue.put(grey(value))
    queue.flush()
    queue.put(grey(7))
    assert [int(frame[0, 0, 0]) for frame in queue.take(2)] == [7, 7]
    assert (queue.dropped["cut"], queue.dropped["late"]) == (3, 0)


def half_and_half(height: int, width: int) -> np.ndarray:
    """Left black, right white."""
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[:, width // 2 :] = 255
    return frame


@pytest.mark.parametrize("size", [(64, 128), (33, 47), (200, 20), (1, 1)])
@pytest.mark.parametrize("fitting", ["crop", "fit"])
def test_a_picture_of_any_size_gets_the_streams(size, fitting):
    frame = av.VideoFrame.from_ndarray(half_and_half(*size), format="rgb24")
    assert to_size(frame, SIZE, fitting).shape == (*SIZE, 3)


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1)])
def test_a_strip_is_refused(size):
    frame = av.VideoFrame.from_ndarray(half_and_half(*size), format="rgb24")
    with pytest.raises(ValueError, match=rf"a picture of {size[1]}×{size[0]}: one side is over 20 times"):
        to_size(frame, SIZE, "crop")


def test_a_wide_picture_is_cropped_at_its_sides_or_fitted_between_bars():
    frame = av.VideoFrame.from_ndarray(half_and_half(32, 96), format="rgb24")
    cropped = to_size(frame, SIZE, "crop")
    assert cropped[:, :20].max() < 20
    assert cropped[:, 28:].min() > 235
    fitted = to_size(frame, SIZE, "fit")
    assert len(np.unique(fitted[:8])) == len(np.unique(fitted[-8:])) == 3, "the bars have one colour"
    assert fitted[8:24, :20].max() < 20
    assert fitted[8:24, 28:].min() > 235


def test_a_video_is_read_at_the_streams_rate(tmp_path):
    path = write_video(tmp_path / "a.mp4", [50, 100, 150, 200], [0, 1, 2, 3])
    assert shades(read_video(path, 10, SIZE, "crop", loop=False)) == [50, 100, 150, 200]
    assert shades(read_video(path, 20, SIZE, "crop", loop=False)) == [50, 50, 100, 100, 150, 150, 200, 200]
    assert shades(read_video(path, 5, SIZE, "crop", loop=False)) == [50, 150]


def test_a_video_of_uneven_rate_keeps_its_time(tmp_path):
    path = write_video(tmp_path / "a.mp4", [50, 100, 150], [0, 4, 5])
    assert shades(read_video(path, 10, SIZE, "crop", loop=False)) == [50] * 4 + [100, 150]


def test_a_loop_begins_again(tmp_path):
    path = write_video(tmp_path / "a.mp4", [50, 200], [0, 1])
    frames = read_video(path, 10, SIZE, "crop", loop=True)
    assert shades(itertools.islice(frames, 5)) == [50, 200, 50, 200, 50]


def test_a_still_is_one_frame(tmp_path):
    write_png(half_and_half(*SIZE), tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", SIZE, "crop"), half_and_half(*SIZE))


def test_a_video_that_breaks_off_gives_what_is_there(tmp_path, caplog):
    path = write_video(tmp_path / "a.mp4", [50, 100, 150, 200] * 5, range(20))
    data = bytearray(path.read_bytes())
    frames_at = data.index(b"mdat")
    data[frames_at + 2000 : data.rindex(b"moov") - 4] = bytes(data.rindex(b"moov") - 4 - frames_at - 2000)
    (tmp_path / "broken.mp4").write_bytes(data)
    found = shades(read_video(tmp_path / "broken.mp4", 10, SIZE, "crop", loop=False))
    assert 0 < len(found) <= 20
    assert "broken.mp4 breaks off after" in caplog.text


def test_a_video_without_its_index_is_named(tmp_path):
    path = write_video(tmp_path / "a.mp4", [50, 100], [0, 1])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"a\.mp4: can't be read as video or image"):
        list(read_video(path, 10, SIZE, "crop", loop=True))


def test_garbage_and_missing_files_are_named(tmp_path):
    (tmp_path / "a.mp4").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(ValueError, match=r"a\.mp4: can't be read as video or image"):
        read_image(tmp_path / "a.mp4", SIZE, "crop")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4: no such file"):
        next(read_video(tmp_path / "none.mp4", 10, SIZE, "crop", loop=False))
