"""The report's pictures as SVG text. The only place that knows matplotlib, and it is loaded when a picture is drawn.

Text and axes take the reader's colour, light or dark, by a style inside the picture, so that one file fits both.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pp1_orchestrator.telemetry.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the reader's text colour until the picture is written."""
STYLE = "<style>svg{color:#34383f}@media (prefers-color-scheme:dark){svg{color:#c9cdd4}}</style>"
PHASES = {"build": "#9a7fd1", "send": "#4fb0a5", "mesh": "#5b8def", "recv": "#d1719a", "decode": "#e0913a"}
MEASURED, PREDICTED, RANGE = "#e0653a", "#2f9e6e", "#7d8fb3"
WIDTH_IN, ROW_IN, FRAME_IN = 5.2, 0.52, 0.95
SETTINGS: Any = {
    "svg.fonttype": "path", "svg.hashsalt": "report", "font.size": 9, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "legend.frameon": False, "legend.fontsize": 8.5,
}  # fmt: skip


class Bar(msgspec.Struct, frozen=True):
    """One job in the pictures."""

    label: str
    summary: Summary
    predicted_ms: float | None


class Plot(msgspec.Struct, frozen=True):
    """file: its name beside the report. says: what it shows, for readers and for those who can't see it."""

    file: str
    title: str
    says: str
    svg: str


def draw_plots(bars: Sequence[Bar]) -> list[Plot]:
    """All pictures; none without a job, and no prompt latency where no prompt was shown."""
    if not bars:
        return []
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        plots = [_phases(bars), _period(bars)]
        if any(update.latency_ms is not None for bar in bars for update in bar.summary.prompt_updates):
            plots.append(_latency(bars))
    return plots


def _phases(bars: Sequence[Bar]) -> Plot:
    figure, axes = _canvas(bars)
    for row, bar in enumerate(bars):
        left = 0.0
        for phase, colour in PHASES.items():
            width = getattr(bar.summary.phases_ms, phase).p50
            axes.barh(row, width, 0.36, left, color=colour, label=phase if row == 0 else None)
            left += width
    says = "Median time of each phase of a chunk. What overlaps is drawn end to end: the sum is no period."
    return _finish(figure, axes, "phases.svg", "Where a chunk's time goes", says, columns=len(PHASES))


def _period(bars: Sequence[Bar]) -> Plot:
    figure, axes = _canvas(bars)
    for row, bar in enumerate(bars):
        phases, first = bar.summary.phases_ms, row == 0
        stage0, mesh = phases.build.p50 + phases.decode.p50, phases.mesh.p50
        hidden, alone = max(stage0, mesh), stage0 + mesh
        axes.barh(row, alone - hidden, 0.26, hidden, color=RANGE, alpha=0.45, label="max … sum" if first else None)
        axes.plot(phases.period.p50, row, "o", color=MEASURED, ms=7, label="measured" if first else None)
        if bar.predicted_ms is not None:
            axes.plot(bar.predicted_ms, row, "D", color=PREDICTED, ms=6, mfc="none", mew=1.6)
    if any(bar.predicted_ms is not None for bar in bars):
        axes.plot([], [], "D", color=PREDICTED, ms=6, mfc="none", mew=1.6, label="predicted")
    says = (
        "Median period against its two limits: the longer of stage 0 (build and decode) and mesh, where all overlaps, "
        "and their sum, where nothing does."
    )
    return _finish(figure, axes, "period.svg", "Period between its limits", says, columns=3)


def _latency(bars: Sequence[Bar]) -> Plot:
    figure, axes = _canvas(bars)
    for name, colour, first in (("first prompt", RANGE, True), ("a change", MEASURED, False)):
        dots = [
            (update.latency_ms, row)
            for row, bar in enumerate(bars)
            for update in bar.summary.prompt_updates
            if update.latency_ms is not None and (update.accepted_chunk < 0) == first
        ]
        if dots:
            axes.plot(*zip(*dots, strict=True), "o", color=colour, ms=6, alpha=0.75, label=name)
    says = "From an accepted prompt to the first picture made with it, a dot each. The first prompt waits for a start."
    return _finish(figure, axes, "latency.svg", "Prompt to pixels", says, columns=2)


def _canvas(bars: Sequence[Bar]) -> tuple[Figure, Axes]:
    """Axes with a row a job, its name above what will be drawn there."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, FRAME_IN + ROW_IN * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylim(len(bars) - 0.55, -0.75)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.grid(axis="x", color="#80858f", alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    for row, bar in enumerate(bars):
        axes.text(0, row - 0.29, bar.label, transform=axes.get_yaxis_transform(), va="bottom", parse_math=False)
    return figure, axes


def _finish(figure: Figure, axes: Axes, file: str, title: str, says: str, columns: int) -> Plot:
    axes.set_xlim(left=0)
    axes.set_xlabel("ms")
    figure.legend(loc="outside upper left", ncols=columns, handlelength=1.1, columnspacing=1.3)
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    svg = out.getvalue().replace(INK, "currentColor").replace("<defs>", f"{STYLE}<defs>", 1)
    return Plot(file, title, says, svg)
