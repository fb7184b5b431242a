"""Self-rollout: streams of the averaged model, with the expert's continuation as the target of each chunk.

At the start of a rollout, the expert estimates the state from the stream's pixels. The target is the world's
continuation from there, encoded after the stream's last frames. This prevents drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

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
from training.streaming import BatchStream, ChunkBlock, Start, strength_levels
from training.teacher_forcing import Past

_HISTORY_CHUNKS = 3  # chunks that are encoded before a continuation


@dataclass(slots=True)
class Rollout:
    """R streams over n chunks.

    Args:
        truth: the expert's latents, [R, n·F, c, h, w].
        own: the stream's latents, of the same shape.
        inputs: what noise is mixed into in each denoising step, [R, steps, n·F, c, h, w]: at first what the chunk
            starts from, then the x0 estimate of the step before.
        levels: the noise level of each step, [R, n, steps].
        tokens, segments, weight: as in `ClipBatch`.
        past: before the first chunk.
    """

    truth: Tensor
    own: Tensor
    inputs: Tensor
    levels: Tensor
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
        video_lives: the same for groups whose streams have an input.
        uses: how often each rollout is trained on.
        p_switch: probability of a new caption in a rollout.
        long_life: groups with at least this life keep the caption of half of their streams.
        escape: scale of the error beyond which the truth is no longer a useful target.
    """

    streams: int = 320
    chunks: int = 4
    lives: tuple[int, ...] = (1, 2, 6, 50)
    video_lives: tuple[int, ...] = ()
    uses: int = 3
    p_switch: float = 0.65
    long_life: int = 10
    escape: float = 0.2


@dataclass(frozen=True, slots=True)
class Tools:
    """What every group uses."""

    space: LatentSpace
    expert: Expert
    block: ChunkBlock
    device: torch.device


def choose_segments(settings: RolloutSettings, caption: Tensor, fresh: bool, quiet: bool) -> Tensor:
    """The caption of each chunk, [R, n], after `caption` [R]. Changes at most once, and not in a stream's first chunk.

    quiet: half of the streams keep their caption.
    """
    count, device = len(caption), caption.device
    chance = torch.full((count,), settings.p_switch, device=device)
    if quiet:
        chance[::2] = 0
    at = torch.randint(1 if fresh else 0, settings.chunks, (count,), device=device)
    at = torch.where(torch.rand(count, device=device) < chance, at, settings.chunks)
    after = (torch.arange(settings.chunks, device=device)[None] >= at[:, None]).long()
    return (caption[:, None] + after) % 2


def stream_chunks(
    stream: BatchStream,
    model: TinyModel,
    tokens: Tensor,
    segments: Tensor,
    device: torch.device,
    starts: Sequence[Start] | None = None,
) -> tuple[Tensor, Tensor]:
    """Streams a chunk for each of segments [R, n], with captions of tokens [R, 2, L]. Returns `own` and `inputs` of a
    `Rollout`. starts: of each chunk, with an input."""
    chunks: list[Tensor] = []
    inputs: list[Tensor] = []
    with torch.no_grad(), mixed_precision(device):
        captions = model.generator.embed_text(model.encode_text(tokens).flatten(0, 1))
        for index, segment in enumerate(segments.unbind(1)):
            text, start = _chosen(captions, segment), None if starts is None else starts[index]
            made = stream.denoise(text, len(segment), device, start)
            stream.commit(made[-1], text)
            first = torch.zeros_like(made[0]) if start is None else start.latents
            chunks.append(made[-1])
            inputs.append(torch.stack([first, *made[:-1]], 1))
    return torch.cat(chunks, 1), torch.cat(inputs, 2)


def _chosen(captions: Sequence[KeyValue], segment: Tensor) -> list[KeyValue]:
    """Selects one of two captions for each stream: [2·R, …] by segment [R]."""
    rows = 2 * torch.arange(len(segment), device=segment.device) + segment
    return [(k[rows], v[rows]) for k, v in captions]


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
        quiet = self._life >= self._settings.long_life
        segments = choose_segments(self._settings, self._caption, fresh, quiet)
        attributes = chunk_attributes(self._attributes, segments)
        truth = self._first_truth(attributes) if fresh else self._next_truth(attributes)
        past = self._stream.past(truth)
        own, inputs = stream_chunks(self._stream, model, self._tokens, segments, self._tools.device)
        weight = self._weight(own, truth, segments)
        self._recent, self._caption = own[:, -_HISTORY_CHUNKS * CHUNK_FRAMES :], segments[:, -1]
        self._age += 1
        levels = strength_levels(torch.ones(segments.shape, device=segments.device))
        return Rollout(truth.half(), own.half(), inputs.half(), levels, self._tokens, segments, weight, past)

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

    def _weight(self, own: Tensor, truth: Tensor, segments: Tensor) -> Tensor:
        weight = chunk_weight(self._attributes, segments, self._caption)
        error = (own - truth).square().unflatten(1, (-1, CHUNK_FRAMES)).flatten(2).mean(-1)
        weight[:, 1:] *= torch.exp(-error[:, :-1] / self._settings.escape)
        return weight
