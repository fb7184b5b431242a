"""Self-rollout: streams of the averaged model, with the expert's continuation as the target of each chunk.

Each group of streams is restarted after a number of rollouts, so some groups are always young and others run for
hundreds of chunks. At the start of a rollout, the expert estimates the state from the stream's pixels. The target is
the world's continuation from there, encoded after the stream's last frames. This prevents drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue
from training import world
from training.clip_pool import chunk_attributes, chunk_weight
from training.common import mixed_precision
from training.expert import Expert
from training.latent_space import LatentSpace
from training.model import CHUNK_FRAMES, TinyModel
from training.scene_scripts import Scripts, pick_tokens
from training.streaming import BatchStream, ChunkBlock
from training.teacher_forcing import Past

_HISTORY_CHUNKS = 3  # chunks that are encoded before a continuation


@dataclass(slots=True)
class Rollout:
    """R streams over n chunks.

    Args:
        truth: the expert's latents, [R, n·F, c, h, w].
        own: the stream's latents, of the same shape.
        estimates: x0 after each denoising step, [R, steps, n·F, c, h, w].
        tokens, segments, weight: as in `ClipBatch`.
        past: before the first chunk.
    """

    truth: Tensor
    own: Tensor
    estimates: Tensor
    tokens: Tensor
    segments: Tensor
    weight: Tensor
    past: Past | None

    def rows(self, rows: Tensor) -> Rollout:
        """A copy of some of the streams."""
        past = self.past
        if past is not None:
            past = Past([(k[rows], v[rows]) for k, v in past.keys_values], past.rope)
        tensors = {field.name: getattr(self, field.name)[rows] for field in fields(self)[:-1]}
        return Rollout(**tensors, past=past)

    def fill(self, other: Rollout) -> None:
        """Copies another rollout of the same shapes, in place."""
        for mine, theirs in zip(self._tensors(), other._tensors(), strict=True):
            mine.copy_(theirs)

    def _tensors(self) -> list[Tensor]:
        tensors = [getattr(self, field.name) for field in fields(self)[:-1]]
        if self.past is not None:
            tensors += [self.past.rope, *(t for pair in self.past.keys_values for t in pair)]
        return tensors


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """How the model streams for its own training.

    Args:
        streams: streams of a group.
        chunks: chunks of a rollout.
        lives: after how many rollouts each group is restarted.
        uses: how often each rollout is trained on.
        p_switch: probability of a new caption in a rollout.
        long_life: groups with at least this life keep the caption of half of their streams.
        escape: scale of the error beyond which the truth is no longer a useful target.
    """

    streams: int = 320
    chunks: int = 4
    lives: tuple[int, ...] = (1, 2, 6, 50)
    uses: int = 3
    p_switch: float = 0.65
    long_life: int = 10
    escape: float = 0.2


class StreamGroup:
    """Streams of the same age, in one batch."""

    def __init__(self, settings: RolloutSettings, life: int, scripts: Scripts, tools: Tools) -> None:
        self._settings, self._life, self._scripts, self._tools = settings, life, scripts, tools
        self._age = life  # the first advance starts new streams

    def advance(self, model: TinyModel) -> Rollout:
        """Streams the next chunks with `model` and pairs them with the truth."""
        fresh = self._age >= self._life
        if fresh:
            self._begin(model)
        else:
            self._next_captions()
        segments = self._choose_segments(fresh)
        attributes = chunk_attributes(self._attributes, segments)
        truth = self._first_truth(attributes) if fresh else self._next_truth(attributes)
        past = self._stream.past(truth)
        own, estimates = self._run(model, segments)
        weight = self._weight(own, truth, segments)
        self._recent, self._caption = own[:, -_HISTORY_CHUNKS * CHUNK_FRAMES :], segments[:, -1]
        self._age += 1
        return Rollout(truth.half(), own.half(), estimates.half(), self._tokens, segments, weight, past)

    def _begin(self, model: TinyModel) -> None:
        device = self._tools.device
        rows = torch.randint(0, len(self._scripts.switch), (self._settings.streams,), device=device)
        self._attributes = self._scripts.attributes[rows]
        self._tokens = pick_tokens(self._scripts.tokens[rows])
        self._caption = torch.zeros(len(rows), dtype=torch.long, device=device)
        self._stream, self._age = BatchStream(model.generator, self._tools.block), 0

    def _next_captions(self) -> None:
        """Makes the current caption the first of the pair; the second is the other one, or a new one."""
        device, here = self._tools.device, torch.arange(len(self._caption), device=self._tools.device)
        rows = torch.randint(0, len(self._scripts.switch), (len(here),), device=device)
        new = torch.rand(len(here), device=device) < 0.5

        def pair(captions: Tensor, others: Tensor) -> Tensor:
            follows = torch.where(new[:, None], others, captions[here, 1 - self._caption])
            return torch.stack([captions[here, self._caption], follows], 1)

        self._attributes = pair(self._attributes, self._scripts.attributes[rows, 0])
        self._tokens = pair(self._tokens, pick_tokens(self._scripts.tokens[rows])[:, 0])
        self._caption = torch.zeros_like(self._caption)

    def _choose_segments(self, fresh: bool) -> Tensor:
        """The caption of each chunk, [R, n]. A stream changes at most once in a rollout, and not in its first chunk."""
        settings, count, device = self._settings, len(self._caption), self._tools.device
        chance = torch.full((count,), settings.p_switch, device=device)
        if self._life >= settings.long_life:
            chance[::2] = 0
        at = torch.randint(1 if fresh else 0, settings.chunks, (count,), device=device)
        at = torch.where(torch.rand(count, device=device) < chance, at, settings.chunks)
        after = (torch.arange(settings.chunks, device=device)[None] >= at[:, None]).long()
        return (self._caption[:, None] + after) % 2

    def _first_truth(self, attributes: Tensor) -> Tensor:
        start = world.canonical_state(len(attributes), self._tools.device)
        poses = world.simulate(start, attributes[:, world.chunk_of_frame(self._settings.chunks)])
        return self._tools.space.encode(world.draw_clip(poses)[0])

    def _next_truth(self, attributes: Tensor) -> Tensor:
        tools = self._tools
        shown = tools.space.decode(self._recent)
        before = self._attributes[torch.arange(len(self._caption), device=tools.device), self._caption]
        per_frame = attributes.repeat_interleave(4 * CHUNK_FRAMES, 1)
        drawn, _ = world.draw_clip(tools.expert.continue_from(shown, before, per_frame))
        encoded = tools.space.encode(torch.cat([shown, drawn], 1))
        return encoded[:, -self._settings.chunks * CHUNK_FRAMES :]

    def _run(self, model: TinyModel, segments: Tensor) -> tuple[Tensor, Tensor]:
        count, device = len(segments), self._tools.device
        chunks, estimates = [], []
        with torch.no_grad(), mixed_precision(device):
            captions = model.generator.embed_text(model.encode_text(self._tokens).flatten(0, 1))
            for chunk in range(self._settings.chunks):
                text = _chosen(captions, segments[:, chunk])
                made = self._stream.denoise(text, count, device)
                self._stream.commit(made[-1], text)
                chunks.append(made[-1])
                estimates.append(torch.stack(made, 1))
        return torch.cat(chunks, 1), torch.cat(estimates, 2)

    def _weight(self, own: Tensor, truth: Tensor, segments: Tensor) -> Tensor:
        weight = chunk_weight(self._attributes, segments, self._caption)
        error = (own - truth).square().unflatten(1, (-1, CHUNK_FRAMES)).flatten(2).mean(-1)
        weight[:, 1:] *= torch.exp(-error[:, :-1] / self._settings.escape)
        return weight


@dataclass(frozen=True, slots=True)
class Tools:
    """What every group uses."""

    space: LatentSpace
    expert: Expert
    block: ChunkBlock
    device: torch.device


def _chosen(captions: Sequence[KeyValue], segment: Tensor) -> list[KeyValue]:
    """Selects one of two captions for each stream: [2·R, …] by segment [R]."""
    rows = 2 * torch.arange(len(segment), device=segment.device) + segment
    return [(k[rows], v[rows]) for k, v in captions]


class Rollouts:
    """Endless batches of self-rollouts. The groups take turns, and every rollout is used several times."""

    def __init__(self, settings: RolloutSettings, scripts: Scripts, tools: Tools) -> None:
        on_device = scripts.to(tools.device)
        self._make = partial(StreamGroup, settings, scripts=on_device, tools=tools)
        self._lives, self._uses = settings.lives, settings.uses
        self.restart()

    def restart(self) -> None:
        """Drops all streams."""
        self._groups = [self._make(life) for life in self._lives]
        self._turn = 0
        self._left: Iterator[Rollout] = iter(())

    def next(self, model: TinyModel, batch: int) -> Rollout:
        """The next `batch` streams of the current rollout, or of a new one, streamed with `model`."""
        ready = next(self._left, None)
        if ready is not None:
            return ready
        rollout = self._groups[self._turn % len(self._groups)].advance(model)
        self._turn += 1
        self._left = self._batches(rollout, batch)
        return next(self._left)

    def _batches(self, rollout: Rollout, batch: int) -> Iterator[Rollout]:
        count, device = len(rollout.weight), rollout.weight.device
        for _ in range(self._uses):
            for rows in torch.randperm(count, device=device).split(batch):
                if len(rows) == batch:
                    yield rollout.rows(rows)
