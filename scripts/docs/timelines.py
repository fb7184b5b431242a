"""Draws the timelines in docs/concepts.md from traces of real runs: what rank 0 and the leader do for a few chunks.

python -m scripts.docs.timelines docs/images      # way_of_a_chunk.svg, overlaps.svg

Denoising and decoding are slowed down, so that the order of events does not depend on the machine.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pp1_orchestrator.report.plots import INK, SETTINGS, STYLE

OVERLAPS = ("sync", "loop_ahead", "stage0_owned", "decode_thread")
SLOW = ("debug.mesh_s=1.2", "debug.decode_s=0.8", "layout=cpu", "layout.mesh_ranks=1", "context=none")
SIZE = ("stream.height=64", "stream.width=64", "run=bench", "run.chunks=9", "run.warmup_chunks=2")
FIRST, LAST = 4, 7
"""The chunks that are drawn."""
COLOURS = {"build": "#9a7fd1", "send": "#4fb0a5", "denoise": "#5b8def", "recv": "#d1719a", "decode": "#e0913a"}
LANES = ("rank 0", "leader")
BAR, FADED = 0.62, 0.3


@dataclass(frozen=True, slots=True)
class Work:
    """A span of a trace, in seconds from the drawing's left edge."""

    rank: int
    phase: str
    chunk: int
    start_s: float
    end_s: float


def trace_of(overlap: str) -> list[Work]:
    """What the two ranks did in a run with this overlap, from the first drawn chunk on."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*SLOW, *SIZE, f"overlap={overlap}", f"hydra.run.dir={folder}"]
        subprocess.run([sys.executable, "-m", "pp1_orchestrator", *words], check=True, capture_output=True)
        events = json.loads((Path(folder) / "trace.json").read_text(encoding="utf-8"))["traceEvents"]
    spans = [event for event in events if event["ph"] == "X" and event["name"] in COLOURS]
    zero = min(span["ts"] for span in spans if span["args"]["chunk"] == FIRST)
    return [_work(span, zero) for span in spans if FIRST - 1 <= span["args"]["chunk"] <= LAST + 1]


def _work(span: dict[str, Any], zero: float) -> Work:
    start_s = (span["ts"] - zero) / 1e6
    return Work(span["pid"], span["name"], span["args"]["chunk"], start_s, start_s + span["dur"] / 1e6)


def end_of(works: Sequence[Work]) -> float:
    """When the last drawn chunk is decoded."""
    return max(work.end_s for work in works if (work.chunk, work.phase) == (LAST, "decode"))


def draw(axes: Axes, works: Sequence[Work], only: int | None = None) -> None:
    """One row for each rank, one bar with the chunk's number for each span. only: the chunk that is not faded."""
    for work in works:
        faded = only is not None and work.chunk != only
        alpha = FADED if faded or (only is None and work.chunk % 2) else 0.95
        length = work.end_s - work.start_s
        axes.barh(work.rank, length, BAR, work.start_s, color=COLOURS[work.phase], alpha=alpha)
        if work.phase in ("denoise", "decode"):
            middle = (work.start_s + work.end_s) / 2
            axes.text(middle, work.rank, str(work.chunk), ha="center", va="center", clip_on=True)
    axes.set_yticks(range(len(LANES)), LANES)
    axes.set_ylim(len(LANES) - 0.5, -0.5)
    axes.set_xlim(0, end_of(works))
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def overlaps(traces: dict[str, list[Work]]) -> str:
    """One timeline for each strategy, all with the same scale."""
    figure = Figure(figsize=(8, 1.15 * len(traces) + 0.6), layout="constrained")
    rows = figure.subplots(len(traces), 1, sharex=True)
    for axes, (overlap, works) in zip(rows, traces.items(), strict=True):
        draw(axes, works)
        axes.set_title(f"overlap={overlap}", loc="left", fontsize=9)
    rows[-1].set_xlim(0, max(map(end_of, traces.values())))
    rows[-1].set_xlabel("seconds; every second chunk is paler")
    return _svg(figure)


def way_of_a_chunk(works: Sequence[Work], chunk: int) -> str:
    """One chunk from its plan to its pixels, with the two messages as arrows. Other chunks are faded."""
    figure = Figure(figsize=(8, 2.3), layout="constrained")
    axes = figure.subplots()
    draw(axes, works, only=chunk)
    own = {(work.rank, work.phase): work for work in works if work.chunk == chunk}
    sent, made = own[0, "send"], own[1, "denoise"]
    returned = own[0, "recv"]
    ends = {"envelope": ((sent.start_s, 0), (made.start_s, 1)), "result": ((made.end_s, 1), (returned.end_s, 0))}
    for name, (tail, head) in ends.items():
        axes.annotate("", xy=head, xytext=tail, arrowprops={"arrowstyle": "->", "color": INK, "lw": 1.4})
        axes.text((tail[0] + head[0]) / 2, 0.5, f" {name}", va="center")
    decoded = own[0, "decode"]
    axes.text(decoded.end_s, -0.42, "pixels", ha="right", va="bottom")
    axes.set_xlim(sent.start_s - 0.2, decoded.end_s + 0.2)
    axes.set_xlabel("seconds")
    return _svg(figure)


def _svg(figure: Figure) -> str:
    figure.legend(
        handles=[Patch(color=colour, label=phase) for phase, colour in COLOURS.items()],
        loc="outside upper right", ncols=len(COLOURS), handlelength=1.1, columnspacing=1.3,
    )  # fmt: skip
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue().replace(INK, "currentColor").replace("<defs>", f"{STYLE}<defs>", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/images"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    traces = {overlap: trace_of(overlap) for overlap in OVERLAPS}
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": "timelines"}):
        (folder / "overlaps.svg").write_text(overlaps(traces), encoding="utf-8")
        (folder / "way_of_a_chunk.svg").write_text(way_of_a_chunk(traces["stage0_owned"], FIRST + 1), encoding="utf-8")


if __name__ == "__main__":
    main()
