"""Videos and images as frames of a stream's rate and size. Not thread-safe. Knows nothing of chunks."""

import logging
import math
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError

from pp1_orchestrator.media.frames import Frame, placeholder

log = logging.getLogger(__name__)
Fitting = Literal["crop", "fit"]
"""crop: fill the stream's size, and lose what goes beyond it; fit: show all, with dark bars beside it."""
MAX_ASPECT = 20


def to_size(frame: av.VideoFrame, size: tuple[int, int], fitting: Fitting) -> Frame:
    """[H, W, 3] of this size. The picture keeps its proportions and stays in the middle.

    Raises ValueError for a strip, which would have to be made huge to be cropped.
    """
    height, width = size
    if max(frame.height, frame.width) > MAX_ASPECT * min(frame.height, frame.width):
        raise ValueError(f"a picture of {frame.width}×{frame.height}: one side is over {MAX_ASPECT} times the other")
    ratios = height / frame.height, width / frame.width
    scale = max(ratios) if fitting == "crop" else min(ratios)
    tall, wide = (max(1, round(scale * length)) for length in (frame.height, frame.width))
    scaled = frame.reformat(wide, tall, "rgb24").to_ndarray().astype(np.uint8, copy=False)
    top, left = (max(0, tall - height) // 2, max(0, wide - width) // 2)
    shown = scaled[top : top + height, left : left + width]
    if shown.shape[:2] == size:
        return np.ascontiguousarray(shown)
    canvas = placeholder(height, width)
    y, x = (height - shown.shape[0]) // 2, (width - shown.shape[1]) // 2
    canvas[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
    return canvas


def read_image(path: Path, size: tuple[int, int], fitting: Fitting) -> Frame:
    """A still, or a video's first frame. Raises ValueError for what can't be read, OSError for a missing file."""
    for _, frame in _decoded(path):
        return to_size(frame, size, fitting)
    raise ValueError(f"{path}: no picture in it")


def read_video(path: Path, fps: float, size: tuple[int, int], fitting: Fitting, loop: bool) -> Iterator[Frame]:
    """Frames at the stream's rate: at each moment the one that the file shows then, whatever its own rate.

    Repeats for ever if `loop`. A file that breaks off ends there, with a warning. Raises ValueError for what can't be
    read, OSError for a missing file.
    """
    while True:
        count = 0
        for frame in _at_rate(path, fps):
            count += 1
            yield to_size(frame, size, fitting)
        if not count:
            raise ValueError(f"{path}: no picture in it")
        if not loop:
            return


def _at_rate(path: Path, fps: float) -> Iterator[av.VideoFrame]:
    shown: av.VideoFrame | None = None
    made, start, time, gap = 0, 0.0, 0.0, 1 / fps
    for next_time, frame in _decoded(path):
        if shown is None:
            start = time = next_time
        elif next_time > time:
            time, gap = next_time, next_time - time
        due = math.ceil((time - start) * fps - 1e-6)
        if shown is not None:
            yield from repeat(shown, due - made)
        made, shown = max(made, due), frame
    if shown is not None:  # the last one lasts as long as the one before
        yield from repeat(shown, max(1, math.ceil((time + gap - start) * fps - 1e-6)) - made)


def _decoded(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    """All frames with their time in seconds."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path}: no video in it")
            for frame in container.decode(container.streams.video[0]):
                yield (frame.time or 0.0), frame
                count += 1
    except FFmpegError as error:
        if not count:
            raise ValueError(f"{path}: can't be read as video or image ({error.strerror})") from error
        log.warning("%s breaks off after %d frames: %s", path, count, error.strerror)
