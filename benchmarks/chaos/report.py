"""The outcomes of the faults as Markdown tables. Knows nothing of the program."""

from collections.abc import Mapping, Sequence

from benchmarks.chaos.clients import Departure, Flood
from benchmarks.chaos.mesh_faults import Outcome
from benchmarks.chaos.shutdowns import Shutdown

MESH_HEAD = (
    "fault", "detected s", "status s", "stream again s", "not ready s", "prompt and connection", "orphans",
    "false ready", "fds", "threads", "RSS MB", "what rank 0 said",
)  # fmt: skip
END_HEAD = ("fault", "exit code", "all gone s", "left", "port")
OUTSIDE_HEAD = ("fault", "figure", "value")


def mesh_row(fault: str, found: Outcome) -> list[str]:
    before, after = found.before, found.after
    return [
        fault,
        f"{found.detected_s:.2f}",
        f"{found.status_s:.2f}",
        f"{found.again_s:.1f}",
        "–" if found.unready_s is None else f"{found.unready_s:.2f}",
        "kept" if found.kept else "lost",
        str(found.orphans),
        str(found.false_ready),
        f"{before.fds} → {after.fds}",
        f"{before.threads} → {after.threads}",
        f"{before.rss_mb:.0f} → {after.rss_mb:.0f}",
        found.words,
    ]


def end_row(fault: str, found: Shutdown) -> list[str]:
    left = ", ".join(map(str, found.left)) or "nothing"
    return [fault, str(found.exit_code), f"{found.gone_s:.1f}", left, "open" if found.listening else "closed"]


def departure_rows(fault: str, found: Departure) -> list[list[str]]:
    return [
        [fault, "removed after s", f"{found.reaped_s:.1f}"],
        [fault, "longest wait for a frame at the other viewer, s", f"{found.gap_s:.2f}"],
    ]


def flood_rows(fault: str, found: Flood) -> list[list[str]]:
    answers = ", ".join(f"{count} × {status}" for status, count in sorted(found.answers.items()))
    return [
        [fault, "answers", answers],
        [fault, "p99 wait for a frame before and during, s", f"{found.before_s:.3f}, {found.during_s:.3f}"],
        [fault, "a prompt sent afterwards", "shown"],
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def document(about: str, tables: Mapping[str, str]) -> str:
    """about: date, versions, machine and choices."""
    parts = [f"## {title}\n\n{text}" for title, text in tables.items() if text.count("\n") > 1]
    return "\n\n".join([f"# Injected faults\n\n{about}", *parts]) + "\n"
