"""Makes a few chunks of two prompts from the same noise, lays them out on a contact sheet, and says what it measured.

A person who looks at the sheet sees more; these verdicts find what is certainly wrong.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from pp1_orchestrator.app.strategy_registry import Registry, check
from pp1_orchestrator.app.stream import Instruments, Stream, check_models
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.loading.checkpoint import check_checkpoint
from pp1_orchestrator.media.frames import Frame, as_arrays, to_rgb
from pp1_orchestrator.media.png import write_png
from pp1_orchestrator.types import DecodedChunk, TimelineEntry

SHEET = "contact_sheet.png"
GAP = 4
"""Pixels between two pictures of the sheet."""
SMOOTH = 0.5
"""Neighbouring pixels of a picture are correlated, by 0.9 and more; those of noise are not."""
MOVES, FOLLOWS = 0.2, 2.0
"""Mean difference of two pictures, of 255: between neighbours in time, and between two prompts."""
Verdicts = Mapping[str, tuple[bool, str]]


class KeptFrames:
    """A FrameSink that keeps every chunk's frames."""

    def __init__(self) -> None:
        self.chunks: list[list[Frame]] = []

    def put(self, chunk: DecodedChunk) -> None:
        self.chunks.append([to_rgb(frame) for frame in as_arrays(chunk.frames)])

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        return True

    def flush(self) -> None:
        """What was put stays."""

    def close(self) -> None:
        """Nothing is open."""


def make_and_judge(settings: Settings, registry: Registry, out: Path) -> list[str]:
    """Run, write the sheet into `out`, and return a line for each verdict and for the sheet.

    Raises ConfigError for a bad checkpoint and the stream's failure, which latents that are not finite are, too.
    """
    count = settings.check.make
    made = _as_bench(settings, 2 * count)
    config, _ = check(made, {"bench"})
    check_checkpoint(made, config)
    check_models(made, config, registry)
    script = [
        TimelineEntry(chunk=0, prompt=made.run.prompt),
        TimelineEntry(chunk=count, prompt=made.check.prompt, cut="hard"),
    ]
    sink = KeptFrames()
    Stream(made, config, registry, script, Instruments(0), sink).run()
    first, second = sink.chunks[:count], sink.chunks[count:]
    write_png(contact_sheet([first, second]), out / SHEET)
    lines = [f"{'yes' if good else 'NO'}: {name} ({why})" for name, (good, why) in judge(first, second).items()]
    return [*lines, f"look at {out / SHEET}: a row for each prompt, a picture for each chunk"]


def _as_bench(settings: Settings, chunks: int) -> Settings:
    run: Any = {"name": "bench", "chunks": chunks, "restarts": 0, "resume": "never", "warmup_chunks": 0}
    return msgspec.structs.replace(settings, run=msgspec.structs.replace(settings.run, **run))


def contact_sheet(rows: Sequence[Sequence[Sequence[Frame]]]) -> Frame:
    """The last frame of each chunk, a row for each list of chunks."""
    pictures = [[chunk[-1] for chunk in row] for row in rows]
    height, width, _ = pictures[0][0].shape
    longest = max(map(len, pictures))
    sheet = np.full(((height + GAP) * len(rows) - GAP, (width + GAP) * longest - GAP, 3), 255, np.uint8)
    for y, row in enumerate(pictures):
        for x, picture in enumerate(row):
            top, left = y * (height + GAP), x * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def judge(first: Sequence[Sequence[Frame]], second: Sequence[Sequence[Frame]]) -> Verdicts:
    """What can be said of the chunks of two prompts that start from the same noise: whether it holds, and why."""
    smooth = min(correlation(chunk[-1]) for chunk in (*first, *second))
    frames = [frame for chunk in first for frame in chunk]
    motion = float(np.median([difference(one, two) for one, two in itertools.pairwise(frames)]))
    apart = difference(first[-1][-1], second[-1][-1])
    return {
        "finite": (True, "every chunk's latents were checked"),
        "not noise": (smooth > SMOOTH, f"neighbouring pixels correlate by {smooth:.2f}; noise by less than {SMOOTH}"),
        "moves": (motion > MOVES, f"frames differ by {motion:.2f} of 255; a still picture by less than {MOVES}"),
        "follows a second prompt": (apart > FOLLOWS, f"the last pictures differ by {apart:.1f} of 255"),
    }


def correlation(picture: Frame) -> float:
    """Of horizontally and vertically neighbouring pixels, the smaller one; 1 for a plain picture."""
    gray = picture.astype(np.float64).mean(-1)
    return min(_correlated(gray[:, 1:], gray[:, :-1]), _correlated(gray[1:], gray[:-1]))


def difference(one: Frame, two: Frame) -> float:
    """Mean absolute difference of two pictures."""
    return float(np.abs(one.astype(np.int16) - two.astype(np.int16)).mean())


def _correlated(one: npt.NDArray[np.float64], two: npt.NDArray[np.float64]) -> float:
    left, right = one - one.mean(), two - two.mean()
    scale = float(np.sqrt((left**2).mean() * (right**2).mean()))
    return 1.0 if scale == 0 else float((left * right).mean()) / scale
