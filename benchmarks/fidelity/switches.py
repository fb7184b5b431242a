"""The first chunk after a change of prompt, through the whole program, with and without cut=recache.

Both cuts see the same prompts and noise. A switch that leaves an attribute as it was says little about it, so each
attribute is also counted over the switches that change it; there the control, the scene before the switch, must fail.
"""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from pp1_orchestrator.types import Cut, TimelineEntry
from training.evaluate_system import SWITCH_CHUNKS, Plan, run_plan
from training.judge import Judge
from training.scene_scripts import random_prompt
from training.world import Scene
from training.world.attributes import Attribute

CUTS: Sequence[Cut] = ("soft", "recache")
SEED, FRAMES = 7, 12
ATTRIBUTES: Mapping[str, Attribute] = {
    "background": Attribute.BACKGROUND,
    "color": Attribute.COLOR,
    "motion": Attribute.MOTION,
    "shape": Attribute.SHAPE,
}
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Count:
    """How many of some switches were right."""

    right: int
    judged: int

    def __str__(self) -> str:
        if not self.judged:
            return "–"
        low, high = (100 * bound for bound in interval(self.right, self.judged))
        return f"{100 * self.right / self.judged:.1f} % of {self.judged} ({low:.0f}–{high:.0f})"


def interval(right: int, judged: int) -> tuple[float, float]:
    """In which the true share is, with 95 % confidence (Wilson)."""
    share, spread = right / judged, NORMAL_95**2 / judged
    middle = (share + spread / 2) / (1 + spread)
    half = NORMAL_95 / (1 + spread) * math.sqrt(share * (1 - share) / judged + spread / judged / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def table(count: int, settings: Sequence[str]) -> Iterator[str]:
    """Markdown, row by row: right of all switches, of those that change the attribute, and the control of these."""
    rng = random.Random(SEED)
    prompts = [random_prompt(rng) for _ in range(count + 1)]
    scenes = [scene for _, scene in prompts]
    yield "| switch | attribute | right | right where it changes | the scene before, there |\n|---|---|---|---|---|"
    for cut in CUTS:
        clips = first_chunks(prompts, cut, settings)
        now, before = judge(clips, scenes[1:]), judge(clips, scenes[:-1])
        for name, attribute in ATTRIBUTES.items():
            changed = [one.ids()[attribute] != two.ids()[attribute] for one, two in itertools.pairwise(scenes)]
            found = (counted(now[name]), counted(now[name], changed), counted(before[name], changed))
            yield f"| {cut if cut == 'soft' else f'cut={cut}'} | {name} | {' | '.join(map(str, found))} |"


def first_chunks(prompts: Sequence[tuple[str, Scene]], cut: Cut, settings: Sequence[str]) -> list[torch.Tensor]:
    """One stream through all prompts -> the frames [T, H, W, 3] of each prompt's first chunk but the first one's."""
    script = [
        TimelineEntry(chunk=index * SWITCH_CHUNKS, prompt=text, cut=cut if index else "soft")
        for index, (text, _) in enumerate(prompts)
    ]
    wanted = {index * SWITCH_CHUNKS: scene for index, (_, scene) in enumerate(prompts) if index}
    frames, _ = run_plan(Plan("switches", script, wanted, len(prompts) * SWITCH_CHUNKS), ["layout=inline", *settings])
    return [frames[chunk] for chunk in wanted]


def judge(clips: Sequence[torch.Tensor], scenes: Sequence[Scene]) -> Mapping[str, list[bool]]:
    """By attribute, whether each clip shows it as its scene has it."""
    measure, right = Judge.load(), {name: list[bool]() for name in ATTRIBUTES}
    for clip, scene in zip(clips, scenes, strict=True):
        verdict = measure.measure(clip.permute(0, 3, 1, 2)[None, -FRAMES:])
        for name, correct in verdict.correct(torch.tensor([scene.ids()])).items():
            right[name].append(bool(correct))
    return right


def counted(right: Sequence[bool], where: Sequence[bool] | None = None) -> Count:
    """Of all, or of those `where` says so."""
    kept = right if where is None else [one for one, use in zip(right, where, strict=True) if use]
    return Count(sum(kept), len(kept))
