"""Judges the shipped model through the whole program, from its decoded frames.

    python -m training.evaluate_system --out report.json [layout=cpu overlap=stage0_owned …]

There are three runs. Random prompts, each after a hard cut. Prompt changes without a cut, judged in the first chunk
with the new prompt. Long streams of one prompt, judged in their chunks 190 to 199. Arguments after the options are
settings of the program.
"""

import argparse
import json
import logging
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from pp1_orchestrator.app.strategy_registry import check
from pp1_orchestrator.app.stream import Instruments, Stream
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.media.frames import as_arrays, to_rgb
from pp1_orchestrator.stage0.timeline import Script
from pp1_orchestrator.types import DecodedChunk, TimelineEntry
from training.judge import Judge
from training.scene_scripts import random_prompt
from training.world import Scene

log = logging.getLogger(__name__)
CONF = Path(__file__).parents[1] / "conf"
PROMPT_CHUNKS = 5
"""The length of each random prompt; its last chunk is judged."""
SWITCH_CHUNKS = 4
DRIFT_CHUNKS = 200
DRIFT_JUDGED = range(190, 200)


@dataclass(frozen=True, slots=True)
class Plan:
    """A script, and the scenes that its judged chunks must show."""

    name: str
    script: Script
    wanted: dict[int, Scene]
    chunks: int


class JudgedChunks:
    """A FrameSink that keeps the frames of the judged chunks."""

    def __init__(self, wanted: dict[int, Scene]) -> None:
        self._wanted = wanted
        self.frames: dict[int, torch.Tensor] = {}

    def put(self, chunk: DecodedChunk) -> None:
        if chunk.chunk_index in self._wanted:
            frames = [to_rgb(frame) for frame in as_arrays(chunk.frames)]
            self.frames[chunk.chunk_index] = torch.from_numpy(np.stack(frames))

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        return True

    def flush(self) -> None:
        """Does nothing: frames from before a cut are judged, too."""

    def close(self) -> None:
        """Does nothing."""


def prompts_plan(count: int, rng: random.Random) -> Plan:
    """Random prompts, each in a fresh epoch."""
    script, wanted = [], {}
    for index in range(count):
        text, scene = random_prompt(rng)
        script.append(TimelineEntry(chunk=index * PROMPT_CHUNKS, prompt=text, cut="hard"))
        wanted[(index + 1) * PROMPT_CHUNKS - 1] = scene
    return Plan("prompts", script, wanted, count * PROMPT_CHUNKS)


def switches_plan(count: int, rng: random.Random) -> Plan:
    """One stream whose prompt changes again and again; the history stays."""
    script, wanted = [], {}
    for index in range(count + 1):
        text, scene = random_prompt(rng)
        script.append(TimelineEntry(chunk=index * SWITCH_CHUNKS, prompt=text))
        if index:
            wanted[index * SWITCH_CHUNKS] = scene
    return Plan("switches", script, wanted, (count + 1) * SWITCH_CHUNKS)


def drift_plan(count: int, rng: random.Random) -> Plan:
    """Long streams of one prompt each."""
    script, wanted = [], {}
    for index in range(count):
        text, scene = random_prompt(rng)
        start = index * DRIFT_CHUNKS
        script.append(TimelineEntry(chunk=start, prompt=text, cut="hard"))
        wanted |= {start + chunk: scene for chunk in DRIFT_JUDGED}
    return Plan("drift", script, wanted, count * DRIFT_CHUNKS)


def run_plan(plan: Plan, overrides: list[str]) -> tuple[dict[int, torch.Tensor], list[int]]:
    """Streams the plan. Returns the frames of the judged chunks, and the latency of every update in chunks."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", ["run=bench", f"run.chunks={plan.chunks}", *overrides])
    settings = load_settings(composed)
    config, registry = check(settings, {"bench"})
    sink = JudgedChunks(plan.wanted)
    stream = Stream(settings, config, registry, plan.script, Instruments(settings.run.warmup_chunks), sink)
    stream.run()
    latencies = [u.applied_chunk - u.accepted_chunk for u in stream.session.updates() if u.applied_chunk is not None]
    return sink.frames, latencies


def judge_plan(plan: Plan, frames: dict[int, torch.Tensor]) -> dict[str, float]:
    """The share of correct chunks by check."""
    judge = Judge.load()
    right: dict[str, list[float]] = {}
    for chunk, scene in plan.wanted.items():
        clip = frames[chunk].permute(0, 3, 1, 2)[None, -12:]
        for name, correct in judge.measure(clip).correct(torch.tensor([scene.ids()])).items():
            right.setdefault(name, []).append(float(correct))
    return {name: round(sum(values) / len(values), 4) for name, values in right.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge the shipped model through the whole program.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--switches", type=int, default=100)
    parser.add_argument("--drift", type=int, default=10, help="number of streams of 200 chunks")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rng = random.Random(options.seed)
    makers = (prompts_plan, options.prompts), (switches_plan, options.switches), (drift_plan, options.drift)
    report: dict[str, dict[str, float]] = {}
    for maker, count in makers:
        if not count:
            continue
        plan = maker(count, rng)
        frames, latencies = run_plan(plan, options.settings)
        report[plan.name] = {
            **judge_plan(plan, frames),
            "judged": len(plan.wanted),
            "latency_chunks_max": max(latencies),
        }
        log.info("%s: %s", plan.name, report[plan.name])
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
