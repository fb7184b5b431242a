"""Runs the program, changes viewers and prompts, and samples every rank. Judges nothing."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos.scene import CHOICES, ready, wait_for
from benchmarks.chaos.watcher import Watcher
from benchmarks.soak.growth import Sample, sample
from benchmarks.soak.leaking import VARIABLE
from tests.system.program import Running, running

PROMPTS = ("a red circle moving left on a blue background", "a yellow star spinning on a black background")
FAST = "stream.fps=60"
"""Faster than chunks can be made."""
PROMPT_EVERY, VIEWER_EVERY, SAMPLE_EVERY = 10, 25, 5
"""Chunks."""

Ranks = dict[str, list[Sample]]


def soak(out: Path, warmup: int, chunks: int, leak: str | None = None, *choices: str) -> Ranks:
    """Samples of each rank over `chunks` chunks after `warmup`; leak: names of deliberate leaks, with commas."""
    module = "pp1_orchestrator" if leak is None else "benchmarks.soak.leaking"
    environment = dict(os.environ) if leak is None else {**os.environ, VARIABLE: leak}
    with running(*CHOICES, FAST, *choices, out=out, module=module, environment=environment) as program:
        ready(program)
        _go_on(program, warmup, lambda: None)
        ranks: Ranks = {rank: [] for rank in program.state()["ranks"]}

        def note() -> None:
            state = program.state()
            for rank, facts in state["ranks"].items():
                ranks[rank].append(sample(facts["pid"], state["chunk"]))

        _go_on(program, chunks, note)
    return ranks


def _go_on(program: Running, chunks: int, note: Callable[[], None]) -> None:
    """Viewers join and leave, and prompts change. Nobody watches while a sample is taken."""
    start, prompts = program.state()["chunk"], itertools.cycle(PROMPTS)
    for chunk in range(start, start + chunks, SAMPLE_EVERY):
        wait_for(lambda chunk=chunk: program.state()["chunk"] >= chunk, "more chunks")
        if (chunk - start) % PROMPT_EVERY == 0:
            program.post("/api/prompt", {"prompt": next(prompts)})
        if (chunk - start) % VIEWER_EVERY == 0:
            _watch(program)
        note()


def _watch(program: Running) -> None:
    watcher = Watcher(f"http://127.0.0.1:{program.port}")
    wait_for(lambda: len(watcher.frames) > 2, "frames at the viewer")
    watcher.close()
    wait_for(lambda: program.state()["viewers"] == 0, "the viewer to be gone")
