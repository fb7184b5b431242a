"""An image, a video or a folder of images as endless frames, also when it ends, breaks off or can't be read any more.

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
    """Frames of a file at the stream's rate and size, without end. loop: a video begins anew after its last frame.

    The files of a folder are one frame each, in the order of their names; hidden ones are left out.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int], fitting: Fitting, *, loop: bool) -> None:
        self._path, self._fps, self._size, self._loop = path, fps, size, loop
        self._fitting: Fitting = fitting
        self.state: SourceState = "playing"

    def first(self) -> Frame:
        """The first frame, read for itself. Raises ValueError for what can't be read, OSError for a missing file."""
        return read_image(self._pictures()[0] if self._path.is_dir() else self._path, self._size, self._fitting)

    def still(self) -> Iterator[Frame]:
        """The first frame, for ever."""
        return itertools.repeat(self.first())

    def video(self) -> Iterator[Frame]:
        """All frames in their time. Raises as `first` if there is none; what fails later holds the last frame."""
        frame: Frame | None = None
        try:
            for frame in self._once_or_looped():
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

    def _once_or_looped(self) -> Iterator[Frame]:
        if not self._path.is_dir():
            yield from read_video(self._path, self._fps, self._size, self._fitting, self._loop)
            return
        pictures = self._pictures()
        for path in itertools.cycle(pictures) if self._loop else pictures:
            yield read_image(path, self._size, self._fitting)

    def _pictures(self) -> list[Path]:
        found = sorted(path for path in self._path.iterdir() if path.is_file() and not path.name.startswith("."))
        if not found:
            raise ValueError(f"{self._path}: no file in this folder")
        return found
