"""Draws docs/images/video_input.png: `python -m scripts.docs.input_strip`.

What the shipped model makes of a painted input, one picture a row: the input, `history` under another prompt, and an
image start from the input's first frame.
"""

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from pp1_orchestrator import Settings, Stream
from pp1_orchestrator.media.frames import Frame
from pp1_orchestrator.media.mp4 import Mp4File
from pp1_orchestrator.media.png import write_png

TARGET = Path(__file__).resolve().parents[2] / "docs" / "images" / "video_input.png"
SIZE, FPS, CHUNKS, GAP = 128, 16, 4, 4
SHOWN = range(0, 48, 6)
GROUND, INK, RADIUS = (26, 33, 112), (226, 38, 48), 24
OTHER = "a green square moving left on a white background"
SAME = "a red circle moving left on a blue background"


def painted(index: int) -> Frame:
    """A red disc on blue that moves to the left."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    frame = np.full((SIZE, SIZE, 3), GROUND, dtype=np.uint8)
    frame[(rows - SIZE / 2) ** 2 + (columns - (98 - index)) ** 2 < RADIUS**2] = INK
    return frame


def made(source: str, path: Path, prompt: str) -> list[Frame]:
    """The frames of a stream with this input."""
    values = {"source.path": path, "run.prompt": prompt, "run.chunks": CHUNKS}
    with Stream(Settings.compose(f"source={source}", "layout=inline", "run=bench", **values)) as stream:
        return [frame for chunk in stream for frame in chunk.frames]


def main() -> None:
    """Write the picture."""
    inputs = [painted(index) for index in range(CHUNKS * 12)]
    with tempfile.TemporaryDirectory() as folder:
        video, still = Path(folder) / "input.mp4", Path(folder) / "input.png"
        with Mp4File(video, FPS, SIZE, SIZE, Fraction(1, FPS)) as file:
            for index, frame in enumerate(inputs):
                file.write(frame, index)
        write_png(inputs[0], still)
        rows = [inputs, made("file", video, OTHER), made("image", still, SAME)]
    pictures = [np.pad(row[at], ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for row in rows for at in SHOWN]
    lines = [np.hstack(pictures[first : first + len(SHOWN)]) for first in range(0, len(pictures), len(SHOWN))]
    write_png(np.vstack(lines)[:-GAP, :-GAP], TARGET)


if __name__ == "__main__":
    main()
