"""The generator's losses: teacher forcing on true clips, and self-rollout on the model's own streams.

For video to video, noise is mixed into an input instead of into the truth. The flow leads from there to the truth: it
takes the noise away and repaints what the input shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.clip_pool import ClipBatch
from training.model import CHUNK_FRAMES, STEPS, TinyModel, per_frame
from training.rollout import Rollout
from training.teacher_forcing import ClipGenerator
from training.video_scripts import random_strengths

_FULL_NOISE = 0.2  # share of chunks at t = 1000, the most important step
_LEAST_NOISE = 0.03
_CONTEXT_NOISE = 0.2  # largest noise on the past, which half of the clips have


@dataclass(slots=True)
class LossReport:
    """Error, noise level and weight of every chunk, and whether it has an input, [B, n] each, for the log."""

    error: Tensor
    level: Tensor
    weight: Tensor
    video: Tensor

    def copy(self) -> LossReport:
        """A copy that the next step does not overwrite."""
        return LossReport(self.error.clone(), self.level.clone(), self.weight.clone(), self.video.clone())

    def mean(self, mask: Tensor) -> float:
        """The weighted mean error of the chunks in a mask."""
        weight = self.weight * mask
        return ((self.error * weight).sum() / weight.sum().clamp_min(1e-6)).item()


def _chunk_error(flow: Tensor, target: Tensor, chunks: int) -> Tensor:
    return (flow - target).square().unflatten(1, (chunks, CHUNK_FRAMES)).flatten(2).mean(-1)


def _weighted(error: Tensor, weight: Tensor) -> Tensor:
    return (error * weight).sum() / weight.sum().clamp_min(1e-6)


def teacher_forcing_loss(model: TinyModel, clip: ClipGenerator, batch: ClipBatch) -> tuple[Tensor, LossReport]:
    """The flow error of true chunks, each at a random noise level, after a past that is true or slightly noised.

    With an input, noise of a random strength is mixed into the input, and low levels are weighted as below.
    """
    clean, (count, chunks), device = batch.latents, batch.segments.shape, batch.latents.device
    level = torch.rand(count, chunks, device=device) * (1 - _LEAST_NOISE) + _LEAST_NOISE
    level = torch.where(torch.rand_like(level) < _FULL_NOISE, 1.0, level)
    video = batch.video.expand(count, chunks)
    level = torch.lerp(level, random_strengths(level), video)
    scale = per_frame(level)
    noisy = torch.lerp(batch.source, torch.randn_like(clean), scale)
    spread = torch.rand(count, 1, 1, 1, 1, device=device) * _CONTEXT_NOISE
    spread = spread * (torch.rand_like(spread) < 0.5)
    past = clean + spread * torch.randn_like(clean)
    flow = clip(past, noisy, level * 1000, model.encode_text(batch.tokens), batch.segments)
    error = _chunk_error(flow, (noisy - clean) / scale, chunks) * torch.lerp(
        torch.ones_like(level), _of_x0(level), video
    )
    return _weighted(error, batch.weight), LossReport(error.detach(), level, batch.weight, video)


def _of_x0(level: Tensor) -> Tensor:
    """What makes an error of the flow one of x0 up to a noise level of 0.5, and leaves it above."""
    return (4 * level.square()).clamp(max=1)


def self_rollout_loss(model: TinyModel, clip: ClipGenerator, rollout: Rollout) -> tuple[Tensor, LossReport]:
    """The error with the stream's own past as context and, as input, what one of its steps started from, noised anew.

    Up to a noise level of 0.5 it is weighted as an error of x0, above as one of the flow.
    """
    truth, own, (count, chunks) = rollout.truth.float(), rollout.own.float(), rollout.segments.shape
    step = torch.randint(0, len(STEPS), (count, chunks), device=truth.device)
    level = rollout.levels.gather(2, step[..., None]).squeeze(-1)
    index = step.repeat_interleave(CHUNK_FRAMES, 1)[:, None, :, None, None, None]
    inputs = rollout.inputs
    before = inputs.gather(1, index.expand(-1, -1, -1, *inputs.shape[3:])).squeeze(1).float()
    scale = per_frame(level)
    noisy = torch.lerp(before, torch.randn_like(before), scale)
    flow = clip(own, noisy, level * 1000, model.encode_text(rollout.tokens), rollout.segments, rollout.past)
    error = _chunk_error(flow, (noisy - truth) / scale, chunks) * _of_x0(level)
    video = (rollout.levels[..., 0] < 1).float()
    return _weighted(error, rollout.weight), LossReport(error.detach(), level, rollout.weight, video)
