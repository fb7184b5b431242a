"""Injects one fault after the other into a served program with a viewer, and prints how it recovered.

python -m benchmarks.chaos                       # all of them, printed
python -m benchmarks.chaos --out benchmarks/CHAOS.md
python -m benchmarks.chaos --smoke               # two kills and a short flood
python -m benchmarks.chaos --schedules 200       # random schedules of faults instead; --first: the first seed
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos.clients import prompt_flood, viewer_vanishes
from benchmarks.chaos.mesh_faults import PHASES, outcome, stopped
from benchmarks.chaos.report import (
    END_HEAD,
    MESH_HEAD,
    OUTSIDE_HEAD,
    departure_rows,
    document,
    end_row,
    flood_rows,
    mesh_row,
    table,
)
from benchmarks.chaos.scene import CHOICES, Scene, scene
from benchmarks.chaos.schedules import broken, play
from benchmarks.chaos.shutdowns import kill_rank0, kill_while_draining
from benchmarks.machine import describe

RANKS = (1, 2)
FLOOD_S, SMOKE_FLOOD_S = 60.0, 1.0
Row = list[str]


def mesh_rows(found: Scene, smoke: bool) -> Iterator[Row]:
    """An injection for each rank at each moment of its life, each after the stream is steady again."""
    moments = [(name, rank) for name in PHASES for rank in RANKS]
    for name, rank in [("steady", 1), ("handshake", 2)] if smoke else moments:
        found.settle()
        yield mesh_row(f"kill −9 rank {rank}, {name}", outcome(found, PHASES[name](found, rank)))
    if not smoke:
        found.settle()
        yield mesh_row("SIGSTOP rank 2, steady", outcome(found, stopped(found, 2)))


def outside_rows(found: Scene, smoke: bool) -> Iterator[Row]:
    found.settle()
    if not smoke:
        yield from departure_rows("a viewer vanishes", viewer_vanishes(found))
    seconds = SMOKE_FLOOD_S if smoke else FLOOD_S
    yield from flood_rows(f"a flood of prompts, {seconds:.0f} s", prompt_flood(found, seconds))


def end_rows(folder: Path) -> Iterator[Row]:
    for rank in RANKS:
        with scene(folder / f"drain-{rank}") as found:
            yield end_row(f"SIGTERM, and kill −9 rank {rank} while it drains", kill_while_draining(found, rank))
    with scene(folder / "head") as found:
        yield end_row("kill −9 rank 0", kill_rank0(found))


def noted(rows: Iterator[Row]) -> list[Row]:
    """All rows, each printed as soon as it is known."""
    done: list[Row] = []
    for row in rows:
        sys.stderr.write(" | ".join(row) + "\n")
        done.append(row)
    return done


def run(smoke: bool) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with scene(folder / "mesh") as found:
            mesh, outside = noted(mesh_rows(found, smoke)), noted(outside_rows(found, smoke))
            code, left = found.end()
            plain = END_HEAD, [["SIGTERM", str(code), "–", ", ".join(map(str, left)) or "nothing", "–"]]
        ends = plain[1] + ([] if smoke else noted(end_rows(folder)))
    about = f"`python -m benchmarks.chaos`, {describe()}, load {os.getloadavg()[1]:.1f}; `{' '.join(CHOICES)}`"
    tables = {
        "The mesh": table(MESH_HEAD, mesh),
        "From outside": table(OUTSIDE_HEAD, outside),
        "The end of the program": table(END_HEAD, ends),
    }
    return document(about, tables)


def run_schedules(seeds: range) -> int:
    """Play them on one program, and print a line for each. 1 when an invariant did not hold."""
    wrong = 0
    with tempfile.TemporaryDirectory() as name, scene(Path(name) / "mesh") as found:
        for seed in seeds:
            found.settle()
            played = play(found, seed)
            lines = broken(found, played)
            wrong += bool(lines)
            sys.stdout.write(f"seed {seed}: {'; '.join(lines) or 'held'} ({', '.join(played.acts)})\n")
            sys.stdout.flush()
        code, left = found.end()
    sys.stdout.write(f"{len(seeds) - wrong} of {len(seeds)} held; exit code {code}, left: {left or 'nothing'}\n")
    return int(wrong > 0 or code != 0 or bool(left))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="two kills and a short flood")
    parser.add_argument("--schedules", type=int, metavar="N", help="so many random schedules instead")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="of the first schedule")
    parser.add_argument("--out", type=Path, help="a file for the tables")
    options = parser.parse_args()
    if options.schedules:
        sys.exit(run_schedules(range(options.first, options.first + options.schedules)))
    text = run(options.smoke)
    sys.stdout.write(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
