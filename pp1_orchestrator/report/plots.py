"""The report's plots as SVG text. The only module that uses matplotlib, which is imported when a plot is drawn.

A style inside each SVG gives text and axes the reader's colour, so that one file fits a light and a dark page.
"""
# matplotlib's functions pass keyword arguments on, without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pp1_orchestrator.report.comparison import Estimate
from pp1_orchestrator.report.jobs import Job
from pp1_orchestrator.telemetry.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""A placeholder that becomes `currentColor` in the SVG."""
STYLE = "<style>svg{color:#34383f}@media (prefers-color-scheme:dark){svg{color:#c9cdd4}}</style>"
PHASES = {"build": "#9a7fd1", "send": "#4fb0a5", "mesh": "#5b8def", "recv": "#d1719a", "decode": "#e0913a"}
MEASURED, PREDICTED, RANGE = "#e0653a", "#2f9e6e", "#7d8fb3"
MOST_SHOWN = 2.0
"""Where an interval has no upper end, it is drawn to this many times the rate."""
WIDTH_IN, ROW_IN, FRAME_IN = 5.2, 0.52, 0.95
SETTINGS: Any = {
    "svg.fonttype": "path", "svg.hashsalt": "report", "font.size": 9, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK, "legend.frameon": False, "legend.fontsize": 8.5,
}  # fmt: skip


Measured = Sequence[tuple[Job, Summary]]


class Plot(msgspec.Struct, frozen=True):
    """A finished plot. file: its name in the report's folder. caption: what it shows, also as alternative text."""

    file: str
    title: str
    caption: str
    svg: str


def draw_plots(jobs: Sequence[Job], estimates: Mapping[int, Estimate]) -> list[Plot]:
    """All plots. There is none without a job that was measured, and no latency plot where no prompt was shown."""
    measured = [(job, job.measured) for job in jobs if job.measured is not None]
    if not measured:
        return []
    import matplotlib

    with matplotlib.rc_context(SETTINGS):
        plots = [_rates(measured, estimates), _phases(measured), _period(measured)]
        if any(update.latency_ms is not None for _, summary in measured for update in summary.prompt_updates):
            plots.append(_latency(measured))
    return plots


def _rates(jobs: Measured, estimates: Mapping[int, Estimate]) -> Plot:
    figure, axes = _axes(jobs)
    for row, (job, _) in enumerate(jobs):
        first, found = row == 0, estimates.get(job.record.number)
        if found is not None:
            high = found.high if math.isfinite(found.high) else MOST_SHOWN * found.rate
            axes.barh(
                row, high - found.low, 0.26, found.low, color=RANGE, alpha=0.45, label="interval" if first else None
            )
            axes.plot(
                found.rate, row, "D", color=PREDICTED, ms=6, mfc="none", mew=1.6, label="all runs" if first else None
            )
        rates = [math.exp(run.rate.log_fps) for run in job.runs if run.rate is not None]
        axes.plot(rates, [row] * len(rates), "o", color=MEASURED, ms=5, alpha=0.75, label="one run" if first else None)
    caption = (
        "Each run, and the estimate from all of a job's runs with its 95 % interval. An interval is wider to the right "
        "where other processes may have held the job up."
    )
    return _finish(figure, axes, "fps.svg", "Frames a second", caption, columns=3, unit="FPS")


def _phases(jobs: Measured) -> Plot:
    figure, axes = _axes(jobs)
    for row, (_, summary) in enumerate(jobs):
        left = 0.0
        for phase, colour in PHASES.items():
            width = getattr(summary.phases_ms, phase).p50
            axes.barh(row, width, 0.36, left, color=colour, label=phase if row == 0 else None)
            left += width
    caption = "Median time of each phase. Overlapping phases are drawn one after another: their sum is not the period."
    return _finish(figure, axes, "phases.svg", "Where a chunk's time goes", caption, columns=len(PHASES))


def _period(jobs: Measured) -> Plot:
    figure, axes = _axes(jobs)
    for row, (job, summary) in enumerate(jobs):
        phases, first = summary.phases_ms, row == 0
        stage0, mesh = phases.build.p50 + phases.decode.p50, phases.mesh.p50
        hidden, alone = max(stage0, mesh), stage0 + mesh
        axes.barh(row, alone - hidden, 0.26, hidden, color=RANGE, alpha=0.45, label="max … sum" if first else None)
        axes.plot(phases.period.p50, row, "o", color=MEASURED, ms=7, label="measured" if first else None)
        if job.predicted_ms is not None:
            axes.plot(job.predicted_ms, row, "D", color=PREDICTED, ms=6, mfc="none", mew=1.6)
    if any(job.predicted_ms is not None for job, _ in jobs):
        axes.plot([], [], "D", color=PREDICTED, ms=6, mfc="none", mew=1.6, label="predicted")
    caption = (
        "Median period between its two limits: the longer of stage 0 (build and decode) and mesh, if they overlap "
        "fully, and their sum, if they do not overlap."
    )
    return _finish(figure, axes, "period.svg", "Period between its limits", caption, columns=3)


def _latency(jobs: Measured) -> Plot:
    figure, axes = _axes(jobs)
    for name, colour, first in (("first prompt", RANGE, True), ("change", MEASURED, False)):
        dots = [
            (update.latency_ms, row)
            for row, (_, summary) in enumerate(jobs)
            for update in summary.prompt_updates
            if update.latency_ms is not None and (update.accepted_chunk < 0) == first
        ]
        if dots:
            axes.plot(*zip(*dots, strict=True), "o", color=colour, ms=6, alpha=0.75, label=name)
    caption = "From accepting a prompt to its first frame, one dot each. The first prompt waits for the stream's start."
    return _finish(figure, axes, "latency.svg", "Prompt to pixels", caption, columns=2)


def _axes(jobs: Measured) -> tuple[Figure, Axes]:
    """Axes with a row for each job, and the job's name above it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, FRAME_IN + ROW_IN * len(jobs)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylim(len(jobs) - 0.55, -0.75)
    axes.set_yticks([])
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.grid(axis="x", color="#80858f", alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    for row, (job, _) in enumerate(jobs):
        axes.text(0, row - 0.29, job.label, transform=axes.get_yaxis_transform(), va="bottom", parse_math=False)
    return figure, axes


def _finish(figure: Figure, axes: Axes, file: str, title: str, caption: str, columns: int, unit: str = "ms") -> Plot:
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    figure.legend(loc="outside upper left", ncols=columns, handlelength=1.1, columnspacing=1.3)
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Title": title})
    svg = out.getvalue().replace(INK, "currentColor").replace("<defs>", f"{STYLE}<defs>", 1)
    return Plot(file, title, caption, svg)
