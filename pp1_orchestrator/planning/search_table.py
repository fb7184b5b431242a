"""What a search found, as a table and the command to run."""

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from pp1_orchestrator.config.machine import PlanSettings
from pp1_orchestrator.planning.search import Candidate, Found

MAX_ROWS = 24


def render_search(found: Found, asked: PlanSettings) -> Group:
    """For a console of 100 columns or more, to be printed with `crop=False`."""
    enough = found.enough
    limit = f" on at most {asked.gpus} GPUs" if asked.gpus else ""
    title = f"{found.model} at {found.target_fps:g} frames/s or more{limit}, machine={found.machine}"
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("layout", "passes", "overlap"):
        table.add_column(column, no_wrap=True)
    for column in ("GPUs", "ms", "FPS", "prompt ms", "largest", "spare", "limit"):
        table.add_column(column, justify="right")
    shown = enough or found.candidates
    for one in shown[:MAX_ROWS]:
        table.add_row(*_words(one), *_figures(one))
    parts: list[RenderableType] = [table]
    if len(shown) > MAX_ROWS:
        parts.append(Text(f"… and {len(shown) - MAX_ROWS} more in search.json."))
    note = "ms: of a chunk; prompt: until its first pixels, at the latest; largest: memory on one GPU."
    parts.append(Text(f"{note} *: rank 0 is on the GPU of the first mesh rank."))
    return Group(*parts, Text(), *_advice(found))


def _words(one: Candidate) -> list[str]:
    layout = f"{one.layout}*" if one.beside and one.gpus > 1 else one.layout
    passes = "fp8" if one.fp8 else "compiled"
    return [layout, passes, "\n".join(one.overlaps)]


def _figures(one: Candidate) -> list[str]:
    spare = decimal(one.spare) if one.spare >= 0 else f"-{decimal(-one.spare)}"
    times = f"{one.period_ms:.0f}", f"{one.fps:.1f}", f"{one.latency_ms:.0f}"
    return [str(one.gpus), *times, decimal(one.memory), spare, one.limited_by.split(" on ")[0]]


def _advice(found: Found) -> list[RenderableType]:
    enough = found.enough
    if not enough:
        fitting = [one for one in found.candidates if one.spare >= 0]
        if not fitting:
            return [Text("Nothing fits: `spare` says by how much. Choose GPUs with more memory.", style="bold")]
        best = max(fitting, key=lambda one: one.fps)
        return [
            Text(f"Nothing is fast enough. The fastest that fits makes {best.fps:.1f} frames/s:"),
            _command(found, best),
        ]
    first, fastest = enough[0], max(enough, key=lambda one: one.fps)
    lines: list[RenderableType] = []
    if fastest is not first:
        lines += [Text(f"The fastest, {fastest.fps:.1f} frames/s on {fastest.gpus} GPUs:"), _command(found, fastest)]
    lines.append(Text(f"The fewest GPUs, {first.gpus}, make {first.fps:.1f} frames/s with:"))
    return [*lines, _command(found, first)]


def _command(found: Found, one: Candidate) -> Text:
    """In one line, however long, so that it can be copied."""
    return Text(f"pp1 {' '.join([*found.given, *one.options])}", style="bold", no_wrap=True, overflow="ignore")
