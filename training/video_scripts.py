"""Random scripts for video to video: the scene that an input shows, and captions that ask for another one.

The output has the input's poses. So a caption's words for motion and size may match the input, contradict it or be
left out: they change nothing. Knows nothing of frames, latents or models.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.captions import plain_caption, random_caption
from training.scene_scripts import Scripts, paraphrase, random_scene
from training.tokenizer import encode
from training.world.attributes import Attribute, Scene

MOTION_WORDS: Final = ("matching", "contradicting", "absent")
"""How a caption's words for the motion relate to the input."""
_ALL, _USUAL = (0.4, 0.95), (0.65, 0.85)  # strengths
_SHARED, _SHARE_OF_SHARED = 0.75, 0.25


@dataclass(slots=True)
class VideoScripts:
    """N scripts.

    Args:
        captions: what is asked for. Its sizes are the input's.
        source: what the input shows, [N, 2, 6]: at first, and after a change of its motion.
    """

    captions: Scripts
    source: Tensor

    def to(self, device: torch.device | str) -> VideoScripts:
        return VideoScripts(self.captions.to(device), self.source.to(device))


def make_video_scripts(
    count: int, chunks: int, tokenizer: Tokenizer, rng: random.Random, paraphrases: int = 3, p_switch: float = 0.65
) -> VideoScripts:
    """Random scripts for clips of `chunks` chunks."""
    attributes, sources, texts, switches = [], [], [], []
    for _ in range(count):
        source, later = random_scene(rng), random_scene(rng)
        first_texts, first = _caption(source, paraphrases, rng)
        second_texts, second, switch = first_texts, first, chunks
        if rng.random() < p_switch:
            second_texts, second = _caption(source, paraphrases, rng)
            switch = rng.randint(1, chunks - 1)
        attributes.append([first.ids(), second.ids()])
        sources.append([source.ids(), replace(source, motion=later.motion, speed=later.speed).ids()])
        texts += [*first_texts, *second_texts]
        switches.append(switch)
    tokens = encode(tokenizer, texts).to(torch.int16).view(count, 2, paraphrases, -1)
    starts = torch.zeros(count, dtype=torch.bool)
    source_ids, wanted = torch.tensor(sources), torch.tensor(attributes)
    wanted[..., Attribute.SIZE] = source_ids[..., Attribute.SIZE]
    return VideoScripts(Scripts(wanted, tokens, torch.tensor(switches), starts), source_ids)


def _caption(source: Scene, paraphrases: int, rng: random.Random) -> tuple[list[str], Scene]:
    words, wanted = rng.choice(MOTION_WORDS), random_scene(rng)
    if words == "matching":
        wanted = replace(wanted, motion=source.motion, speed=source.speed)
    wanted = replace(wanted, size=rng.choice((source.size, "medium", wanted.size)))
    return paraphrase(wanted, paraphrases, rng, with_motion=words != "absent")


def source_attributes(source: Tensor, frames: int) -> Tensor:
    """What an input shows in each frame, [B, 2, 6] -> [B, frames, 6]. In half of them the motion changes once."""
    at = torch.randint(1, 2 * frames, (len(source),), device=source.device)
    later = torch.arange(frames, device=source.device)[None] >= at[:, None]
    return torch.where(later[..., None], source[:, 1:], source[:, :1])


def random_strengths(like: Tensor) -> Tensor:
    """Random noise levels that are mixed into an input, of the shape of `like`, most of them usual ones.

    A quarter is 0.75. Its first step is one of text alone, too, which has learned there to trust the past.
    """
    usual = (torch.rand_like(like) < 0.67).float()
    low, high = (rare + (often - rare) * usual for rare, often in zip(_ALL, _USUAL, strict=True))
    drawn = low + (high - low) * torch.rand_like(like)
    return torch.where(torch.rand_like(like) < _SHARE_OF_SHARED, _SHARED, drawn)


def other_prompt(source: Scene, words: str, before: Sequence[Scene], rng: random.Random) -> tuple[str, Scene]:
    """A prompt for evaluations, and its meaning: colour, shape and background differ from those of all in `before`.

    words: one of MOTION_WORDS.
    """
    while True:
        wanted = random_scene(rng)
        if words == "matching":
            wanted = replace(wanted, motion=source.motion, speed=source.speed)
        if words == "absent":
            text, meant = random_caption(wanted, rng, with_motion=False)
        else:
            text, meant = plain_caption(wanted) if rng.random() < 0.5 else random_caption(wanted, rng)
        same_motion = meant.motion == source.motion
        fits = words == "absent" or same_motion == (words == "matching")
        if fits and all(_differs(meant, scene) for scene in before):
            return text, meant


def _differs(one: Scene, other: Scene) -> bool:
    return one.color != other.color and one.shape != other.shape and one.background != other.background
