"""The generator's losses: teacher forcing on true clips, and self-rollout on the model's own streams."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.clip_pool import ClipBatch
from training.model import CHUNK_FRAMES, STEPS, TinyModel, per_frame
from training.rollout import Rollout
from training.teacher_forcing import ClipGenerator
from training.world.constants import constant

_FULL_NOISE = 0.2  # share of chunks at t = 1000, the most important step
_LEAST_NOISE = 0.03
_CONTEXT_NOISE = 0.2  # largest noise on the past, which half of the clips have


@dataclass(slots=True)
class LossReport:
    """Error, noise level and weight of every chunk, [B, n] each, for the log."""

    error: Tensor
    level: Tensor
    weight: Tensor

    def copy(self) -> LossReport:
        """A copy that the next step does not overwrite."""
        return LossReport(self.error.clone(), self.level.clone(), self.weight.clone())

    def mean(self, mask: Tensor) -> float:
        """The weighted mean error of the chunks in a mask."""
        weight = self.weight * mask
        return ((self.error * weight).sum() / weight.sum().clamp_min(1e-6)).item()


def _chunk_error(flow: Tensor, target: Tensor, chunks: int) -> Tensor:
    return (flow - target).square().unflatten(1, (chunks, CHUNK_FRAMES)).flatten(2).mean(-1)


def _weighted(error: Tensor, weight: Tensor) -> Tensor:
    return (error * weight).sum() / weight.sum().clamp_min(1e-6)


def teacher_forcing_loss(model: TinyModel, clip: ClipGenerator, batch: ClipBatch) -> tuple[Tensor, LossReport]:
    """The flow error of true chunks, each at a random noise level, after a past that is true or slightly noised."""
    clean, (count, chunks), device = batch.latents, batch.segments.shape, batch.latents.device
    level = torch.rand(count, chunks, device=device) * (1 - _LEAST_NOISE) + _LEAST_NOISE
    level = torch.where(torch.rand_like(level) < _FULL_NOISE, 1.0, level)
    noise = torch.randn_like(clean)
    noisy = torch.lerp(clean, noise, per_frame(level))
    spread = torch.rand(count, 1, 1, 1, 1, device=device) * _CONTEXT_NOISE
    spread = spread * (torch.rand_like(spread) < 0.5)
    past = clean + spread * torch.randn_like(clean)
    flow = clip(past, noisy, level * 1000, model.encode_text(batch.tokens), batch.segments)
    error = _chunk_error(flow, noise - clean, chunks)
    return _weighted(error, batch.weight), LossReport(error.detach(), level, batch.weight)


def self_rollout_loss(model: TinyModel, clip: ClipGenerator, rollout: Rollout) -> tuple[Tensor, LossReport]:
    """The error with the stream's own past as context, its renoised x0 estimate as input and the true clip as target.

    Up to a noise level of 0.5 it is weighted as an error of x0, above as one of the flow.
    """
    truth, own, (count, chunks) = rollout.truth.float(), rollout.own.float(), rollout.segments.shape
    step = torch.randint(0, len(STEPS), (count, chunks), device=truth.device)
    level = constant(STEPS, truth)[step] / 1000
    index = (step - 1).clamp_min(0).repeat_interleave(CHUNK_FRAMES, 1)[:, None, :, None, None, None]
    estimates = rollout.estimates
    before = estimates.gather(1, index.expand(-1, -1, -1, *estimates.shape[3:])).squeeze(1).float()
    scale = per_frame(level)
    noisy = torch.lerp(before, torch.randn_like(before), scale)
    flow = clip(own, noisy, level * 1000, model.encode_text(rollout.tokens), rollout.segments, rollout.past)
    error = _chunk_error(flow, (noisy - truth) / scale, chunks) * (4 * level.square()).clamp(max=1)
    return _weighted(error, rollout.weight), LossReport(error.detach(), level, rollout.weight)
