"""Draws a dashboard as a picture, from its JSON and a real Prometheus: each panel's queries over the last minutes.

    python -m deploy.grafana.pictures http://127.0.0.1:9090 127.0.0.1:7860 docs/images

It is no Grafana: it shows what the queries answer, in the dashboards' places and units.
"""

import argparse
import io
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deploy.grafana.dashboards import dashboards

COLUMNS, UNIT_IN, DPI = 24, 0.42, 100
MINUTES, STEPS, RATE_INTERVAL = 5.0, 120, "15s"
EVENT_S = 15.0
"""An event's expression is true for so long."""
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffb357", "#ca95e5")
PAPER, RAISED, INK, QUIET, MARK = "#111217", "#181b1f", "#d8d9da", "#8e9299", "#b877d9"
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Series:
    """One line: its name, seconds before now, and values."""

    name: str
    seconds: list[float]
    values: list[float]


@dataclass(frozen=True)
class Source:
    """A Prometheus and the stream in it that is asked for, over some minutes up to end_s (Unix time)."""

    url: str
    instance: str
    end_s: float
    minutes: float = MINUTES

    def series(self, expression: str, legend: str) -> list[Series]:
        """Raises OSError for an expression that Prometheus refuses."""
        asked = expression.replace("$instance", self.instance).replace("$__rate_interval", RATE_INTERVAL)
        span = 60 * self.minutes
        words = {"query": asked, "start": self.end_s - span, "end": self.end_s, "step": f"{span / STEPS:.3f}"}
        with urllib.request.urlopen(f"{self.url}/api/v1/query_range?{urllib.parse.urlencode(words)}") as answer:
            rows = json.load(answer)["data"]["result"]
        return [self._line(row, legend) for row in rows]

    def _line(self, row: dict[str, Any], legend: str) -> Series:
        def label(found: re.Match[str]) -> str:
            return str(row["metric"].get(found[1], ""))

        name = re.sub(r"\{\{\s*(\w+)\s*\}\}", label, legend)
        points = [(float(at) - self.end_s, float(value)) for at, value in row["values"]]
        kept = [(at, value) for at, value in points if math.isfinite(value)]
        return Series(name, [at for at, _ in kept], [value for _, value in kept])


def draw_dashboard(board: dict[str, Any], source: Source) -> tuple[bytes, dict[str, int]]:
    """The picture as PNG, and how many points each panel shows, by its title."""
    panels = board["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = Figure(figsize=(COLUMNS * UNIT_IN * 1.25, rows * UNIT_IN), facecolor=PAPER, dpi=DPI)
    marks = _marks(board, source)
    points: dict[str, int] = {}
    for panel in panels:
        axes = _place(figure, panel["gridPos"], rows)
        if panel["type"] == "row":
            axes.set_axis_off()
            axes.text(0, 0.5, panel["title"], color=INK, fontsize=10, weight="bold", va="center")
            continue
        lines = [line for target in panel["targets"] for line in source.series(target["expr"], target["legendFormat"])]
        points[panel["title"]] = sum(len(line.values) for line in lines)
        (_stat if panel["type"] == "stat" else _chart)(axes, panel, lines, marks)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=PAPER, metadata={"Software": None})
    return out.getvalue(), points


def _place(figure: Figure, grid: dict[str, int], rows: int) -> Axes:
    """Room for the title above, and for the scale at the left."""
    left, right, above, below = 1.0, 0.25, 1.1, 1.55
    if grid["h"] <= 4:
        left = right = below = 0.2
    if grid["h"] == 1:
        above = 0.0
    box = (
        (grid["x"] + left) / COLUMNS,
        1 - (grid["y"] + grid["h"] - below) / rows,
        (grid["w"] - left - right) / COLUMNS,
        (grid["h"] - above - below) / rows,
    )
    return figure.add_axes(box, facecolor=RAISED)


def _marks(board: dict[str, Any], source: Source) -> list[float]:
    """When the events of the dashboard's annotations were, in seconds before now."""
    asked = [mark["expr"] for mark in board["annotations"].get("list", []) if "expr" in mark]
    marks: list[float] = []
    for at in sorted(at for expression in asked for line in source.series(expression, "") for at in line.seconds):
        if not marks or at - marks[-1] > EVENT_S:
            marks.append(at)
    return marks


def _stat(axes: Axes, panel: dict[str, Any], lines: Sequence[Series], marks: Sequence[float]) -> None:
    unit, steps = panel["fieldConfig"]["defaults"]["unit"], panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    value = lines[0].values[-1] if lines and lines[0].values else math.nan
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    colour = {"red": COLOURS[4], "green": COLOURS[0], "text": INK}[reached[-1]["color"]]
    axes.set_title(panel["title"], color=INK, fontsize=8, loc="left", pad=4)
    if lines:
        axes.fill_between(lines[0].seconds, lines[0].values, color=colour, alpha=0.18, lw=0)
        axes.set_ylim(0, 2.2 * max(*lines[0].values, 1e-9))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(
        0.5, 0.6, told(value, unit), color=colour, fontsize=17, ha="center", va="center", transform=axes.transAxes
    )


def _chart(axes: Axes, panel: dict[str, Any], lines: Sequence[Series], marks: Sequence[float]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    below: dict[float, float] = {}
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        floor = [below.get(at, 0.0) if stacked else 0.0 for at in line.seconds]
        top = [low + value for low, value in zip(floor, line.values, strict=True)]
        below |= dict(zip(line.seconds, top, strict=True))
        axes.plot(line.seconds, top, color=colour, lw=1.2, label=line.name)
        axes.fill_between(line.seconds, floor, top, color=colour, alpha=defaults["custom"]["fillOpacity"] / 100, lw=0)
    for at in marks:
        axes.axvline(at, color=MARK, lw=0.8, ls=":")
    axes.set_title(panel["title"], color=INK, fontsize=8, loc="left", pad=4)
    highest = max((value for line in lines for value in line.values), default=0.0)
    axes.set_ylim(bottom=0.0, top=None if highest > 0 else 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value, defaults["unit"])))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at / 60:.1f} min"))
    axes.tick_params(colors=QUIET, labelsize=6, length=0)
    axes.grid(color=QUIET, alpha=0.15, lw=0.5)
    axes.spines[:].set_visible(False)
    if not lines:
        axes.text(0.5, 0.5, "no data", color=QUIET, fontsize=8, ha="center", transform=axes.transAxes)
        return
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=4, fontsize=5.5, labelcolor=QUIET, frameon=False,
        handlelength=1, columnspacing=1, borderaxespad=0,
    )  # fmt: skip


def told(value: float, unit: str) -> str:
    """A value as Grafana would show it."""
    if not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    if unit == "s":
        return f"{1e3 * value:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    name = {"bytes": "B", "Bps": "B/s"}.get(unit, "")
    size, prefix = next(((size, prefix) for size, prefix in PREFIXES if abs(value) >= size), (1.0, ""))
    return f"{value / size:.3g} {prefix}{name}".rstrip()


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("instance", help="host:port of the stream, as Prometheus has it")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    options = parser.parse_args(words)
    source = Source(options.url, options.instance, time.time(), options.minutes)
    for name, text in dashboards().items():
        picture, _ = draw_dashboard(json.loads(text), source)
        (options.folder / f"dashboard-{name}.png").write_bytes(picture)


if __name__ == "__main__":
    main()
