"""The timing law of the overlaps, measured with slowed stages: first the mesh (M) is the slower one, then decoding (D).

    python -m benchmarks.timing_law --chunks 12

Each row is one run of the program. `law` is the period that the law gives for the run's own median stage times: their
sum, or the longer of the two. With a context that needs pixels the mesh also waits for a third of the decoding and for
encoding one frame. `planned` is the period that `run=plan` predicts for the same settings without running them.
`memory` is the largest difference between a component's predicted bytes and those that the run reports.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from pp1_orchestrator.planning.make_plan import Plan, read_plan
from pp1_orchestrator.telemetry.summary import read_summary

OVERLAPS = ("sync", "stage0_owned", "loop_ahead", "decode_thread")
WARMUP = 3


@dataclass(frozen=True, slots=True)
class Case:
    """Seconds that are added to a chunk's denoising, to its decoding and to the encoding of a frame."""

    overlap: str
    context: str
    mesh_s: float
    decode_s: float
    encode_s: float

    def command(self, chunks: int, folder: Path) -> list[str]:
        return [
            sys.executable, "-m", "pp1_orchestrator",
            "run=bench", f"run.chunks={chunks}", f"run.warmup_chunks={WARMUP}",
            f"overlap={self.overlap}", f"context={self.context}", f"debug.mesh_s={self.mesh_s}",
            f"debug.decode_s={self.decode_s}", f"debug.encode_s={self.encode_s}", f"hydra.run.dir={folder}",
        ]  # fmt: skip


def median_ms(chunks: list[dict[str, Any]], key: str) -> float:
    return statistics.median(chunk[key] for chunk in chunks)


def law_ms(case: Case, chunks: list[dict[str, Any]]) -> float:
    """The period that the stages' own times should give."""
    denoise, context, decode = (median_ms(chunks, key) for key in ("denoise_ms", "context_ms", "decode_ms"))
    anchor = median_ms(chunks, "anchor_ms")
    if case.overlap == "sync":
        return denoise + max(context, decode)
    return max(denoise + context + anchor, decode)


def measure(case: Case, chunks: int, folder: Path) -> str:
    """One line of the table. Raises CalledProcessError when the run fails."""
    subprocess.run(case.command(chunks, folder), check=True, capture_output=True)
    summary = read_summary(folder / "summary.json")
    lines = [json.loads(line) for line in (folder / "chunks.jsonl").read_text().splitlines()][WARMUP:]
    law, period = law_ms(case, lines), summary.phases_ms.period.p50
    score = summary.overlap_score if summary.overlap_score is not None else float("nan")
    plan = read_plan(folder / "plan.json")
    planned = plan.predicted_period_ms[case.overlap]
    stages = " | ".join(f"{median_ms(lines, key):.0f}" for key in ("denoise_ms", "decode_ms", "anchor_ms"))
    law_off, plan_off = (f"{100 * (period / other - 1):+.1f} %" for other in (law, planned))
    memory = f"{100 * memory_distance(plan, summary.memory):.1f} %"
    return (
        f"| {case.context} | {case.overlap} | {stages} | {period:.0f} | {law:.0f} | {law_off} "
        f"| {planned:.0f} | {plan_off} | {score:.2f} | {memory} |"
    )


def memory_distance(plan: Plan, measured: dict[str, dict[str, int]]) -> float:
    """The largest relative distance of a predicted component from the measured one, over all ranks."""
    pairs = [
        (predicted, measured[rank][component])
        for rank, parts in plan.memory.items()
        for component, predicted in parts.items()
    ]
    return max(abs(predicted / found - 1) for predicted, found in pairs)


def cases() -> list[Case]:
    out = []
    for mesh_s, decode_s in ((0.8, 0.4), (0.4, 0.8)):
        out += [Case(overlap, "clean_pass", mesh_s, decode_s, 0.0) for overlap in OVERLAPS]
        out += [Case(overlap, "recompute_anchor", mesh_s, decode_s, 0.1) for overlap in OVERLAPS[1:]]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=12)
    options = parser.parse_args()
    out = [
        f"{describe()}; {options.chunks} chunks, the first {WARMUP} left out, medians in ms",
        "",
        "| context | overlap | denoise | decode | awaited | period | law | off | planned | off | score | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for index, case in enumerate(cases()):
            out.append(measure(case, options.chunks, Path(folder) / str(index)))
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
