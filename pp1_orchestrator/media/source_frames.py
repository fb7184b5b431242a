"""An image or a video as endless frames: what a stream shows when its input ends, breaks off or can't be read any more.

Read by one thread; any thread may read `state`. Knows nothing of chunks.
"""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pp1_orchestrator.errors import named_line
from pp1_orchestrator.media.frames import Frame
from pp1_orchestrator.media.input_files import Fitting, read_image, read_video

log = logging.getLogger(__name__)
SourceState = Literal["playing", "ended", "failed"]
"""ended: a video's last frame stays; failed: the file can't be read any more, and the last frame stays."""


class SourceFrames:
    """Frames of a file at the stream's rate and size, without end. loop: a video begins anew after its last frame."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int], fitting: Fitting, *, loop: bool) -> None:
        self._path, self._fps, self._size, self._loop = path, fps, size, loop
        self._fitting: Fitting = fitting
        self.state: SourceState = "playing"

    def first(self) -> Frame:
        """The first frame, read for itself. Raises ValueError for what can't be read, OSError for a missing file."""
        return read_image(self._path, self._size, self._fitting)

    def still(self) -> Iterator[Frame]:
        """The first frame, for ever."""
        return itertools.repeat(self.first())

    def video(self) -> Iterator[Frame]:
        """All frames in their time. Raises as `first` if there is none; what fails later holds the last frame."""
        frame: Frame | None = None
        try:
            for frame in read_video(self._path, self._fps, self._size, self._fitting, self._loop):
                yield frame
            self.state = "ended"
            log.info("%s has ended; its last frame stays", self._path)
        except (ValueError, OSError) as error:
            if frame is None:
                raise
            self.state = "failed"
            log.warning("the input's last frame stays: %s", named_line(error))
        assert frame is not None  # a video without one is refused
        yield from itertools.repeat(frame)
