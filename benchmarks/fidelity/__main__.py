"""How close to upstream, and how well the video holds up: tables for RESULTS.md.

    python -m benchmarks.fidelity golden            # each family's own code against ours
    python -m benchmarks.fidelity streams           # the shipped model: caches, positions, steps at chunks 1 … 2,000
    python -m benchmarks.fidelity recache           # the first chunk after a prompt, with and without cut=recache

`streams` takes minutes on a GPU (`layout.device=cuda layout.mesh_device=cuda layout.compile=true`) and hours without.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks.fidelity import streams, switches
from benchmarks.machine import describe


def golden(options: argparse.Namespace) -> Iterator[str]:
    from benchmarks.fidelity.golden import table  # needs the development packages

    return table()


def judged_streams(options: argparse.Namespace) -> Iterator[str]:
    variants = {name: streams.VARIANTS[name] for name in options.variants}
    return streams.table(streams.Asked(options.count or 5, options.chunks, options.settings), variants)


def recache(options: argparse.Namespace) -> Iterator[str]:
    return switches.table(options.count or 100, options.settings)


PARTS: Mapping[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "golden": golden,
    "streams": judged_streams,
    "recache": recache,
}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--chunks", type=int, nargs="+", default=streams.JUDGED, help="judged chunks")
    parser.add_argument(
        "--variants", nargs="+", choices=streams.VARIANTS, default=list(streams.VARIANTS), metavar="NAME"
    )
    parser.add_argument("--count", type=int, default=None, help="streams, or switches")
    parser.add_argument("settings", nargs="*", help="settings of the program")
    options = parser.parse_intermixed_args(words)
    sys.stdout.write(f"{describe()}\n\n")
    for line in PARTS[options.part](options):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
