"""Random scripts of clips: the scenes before and after a change of caption, as captions and as attributes.

Knows nothing of frames, latents or models.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.captions import plain_caption, random_caption
from training.tokenizer import encode
from training.world.attributes import BACKGROUNDS, COLORS, EMPTY, MOTIONS, SHAPES, SIZES, SPEEDS, Attribute, Scene
from training.world.constants import constant

_SIZE_ODDS, _SPEED_ODDS = (3, 4, 2), (2, 5, 2)
_SIZE_WEIGHTS = (1.8, 1.1, 0.8)
_SHAPE_WEIGHTS = (0.8, 0.9, 1.2, 1.2, 1.1, 1.1, 0.8)
_NAMES = tuple(field.name for field in fields(Scene))


@dataclass(slots=True)
class Scripts:
    """N scripts of two scenes each.

    Args:
        attributes: ids, [N, 2, 6].
        tokens: of P paraphrases, [N, 2, P, L] int16.
        switch: the first chunk of the second scene, [N]; the number of chunks if there is none.
        canonical: whether the clip starts like a stream, [N] bool.
    """

    attributes: Tensor
    tokens: Tensor
    switch: Tensor
    canonical: Tensor

    def to(self, device: torch.device | str) -> Scripts:
        return Scripts(*(getattr(self, field.name).to(device) for field in fields(self)))

    def segments(self, chunks: int) -> Tensor:
        """The scene of each chunk, 0 or 1, [N, chunks]."""
        return (torch.arange(chunks, device=self.switch.device)[None] >= self.switch[:, None]).long()


def random_scene(rng: random.Random, shapes: tuple[str, ...] = SHAPES) -> Scene:
    """A scene with uniform attributes, except for size and speed."""
    return Scene(
        rng.choice(list(COLORS)),
        rng.choice(shapes),
        rng.choice(MOTIONS),
        rng.choice(list(BACKGROUNDS)),
        rng.choices(list(SIZES), _SIZE_ODDS)[0],
        rng.choices(list(SPEEDS), _SPEED_ODDS)[0],
    )


def random_prompt(rng: random.Random) -> tuple[str, Scene]:
    """A prompt for evaluations and its meaning: a plain caption or a random one."""
    scene = random_scene(rng)
    return plain_caption(scene) if rng.random() < 0.5 else random_caption(scene, rng)


def changed_scene(scene: Scene, rng: random.Random) -> Scene:
    """Another scene: in half of the cases all attributes are drawn again, in the others one to three."""
    other = random_scene(rng)
    names = _NAMES if rng.random() < 0.5 else rng.sample(_NAMES, rng.choice((1, 1, 2, 3)))
    changed = replace(scene, **{name: getattr(other, name) for name in names})
    if changed.shape == EMPTY:
        return replace(changed, shape=other.shape)
    return replace(changed, shape=EMPTY) if rng.random() < 0.02 else changed


def make_scripts(
    count: int, chunks: int, tokenizer: Tokenizer, rng: random.Random, paraphrases: int = 3, p_switch: float = 0.65
) -> Scripts:
    """Random scripts for clips of `chunks` chunks."""
    attributes, texts, switches, canonicals = [], [], [], []
    for _ in range(count):
        canonical = rng.random() < 0.5
        first = random_scene(rng)
        if not canonical and rng.random() < 0.03:
            first = replace(first, shape=EMPTY)
        first_texts, first = paraphrase(first, paraphrases, rng)
        second_texts, second, switch = first_texts, first, chunks
        if first.shape == EMPTY or rng.random() < p_switch:
            second_texts, second = paraphrase(changed_scene(first, rng), paraphrases, rng)
            switch = rng.randint(1, chunks - 1)
        attributes.append([first.ids(), second.ids()])
        texts += [*first_texts, *second_texts]
        switches.append(switch)
        canonicals.append(canonical)
    tokens = encode(tokenizer, texts).to(torch.int16).view(count, 2, paraphrases, -1)
    return Scripts(torch.tensor(attributes), tokens, torch.tensor(switches), torch.tensor(canonicals))


def paraphrase(scene: Scene, count: int, rng: random.Random, with_motion: bool = True) -> tuple[list[str], Scene]:
    """Random captions of one meaning, and that meaning. with_motion: they may say how the object moves."""
    text, meant = random_caption(scene, rng, with_motion=with_motion)
    others = (random_caption(meant, rng, True, with_motion)[0] for _ in range(count - 1))
    return [text, *others], meant


def pick_tokens(tokens: Tensor) -> Tensor:
    """Selects a random paraphrase of each scene: [B, 2, P, L] -> [B, 2, L] int64."""
    choice = torch.randint(0, tokens.shape[2], tokens.shape[:2], device=tokens.device)
    index = choice[..., None, None].expand(-1, -1, 1, tokens.shape[-1])
    return tokens.gather(2, index).squeeze(2).long()


def difficulty(attributes: Tensor) -> Tensor:
    """The loss weight of scenes, [..., 6] -> [...]: larger for small, pointed and hollow objects."""
    sizes = constant(_SIZE_WEIGHTS, attributes)[attributes[..., Attribute.SIZE]]
    return sizes * constant(_SHAPE_WEIGHTS, attributes)[attributes[..., Attribute.SHAPE]]
