"""Measures a VAE: statistics of its latents, PSNR, and the judge's verdict on reconstructions."""

import logging

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from training import world
from training.judge import Judge
from training.random_attributes import random_attributes
from training.vae_forward import ClipVae

_log = logging.getLogger(__name__)
_CLIPS_AT_ONCE = 20
_CHUNKS = 3
_LEAST_STD = 0.35  # of the root mean square over channels, so that normalising does not amplify weak channels
_NOISE = 0.2


def _clips(count: int, device: torch.device) -> world.Poses:
    attributes = random_attributes(count, 2, device, p_empty=0.0)
    chunk = torch.tensor(world.chunk_of_frame(_CHUNKS), device=device)
    switch = torch.where(torch.rand(count, device=device) < 0.5, 1, _CHUNKS)
    segment = (chunk[None] >= switch[:, None]).long()
    per_frame = attributes.gather(1, segment[..., None].expand(-1, -1, attributes.shape[-1]))
    start = world.canonical_state(count, device)
    half = torch.rand(count, device=device) < 0.5
    return world.simulate(start.where(half, world.random_state(count, device)), per_frame)


@torch.no_grad()
def latent_statistics(clips: ClipVae, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [z] of the latents of `count` random clips."""
    poses = _clips(count, device)
    means = []
    for start in range(0, count, _CLIPS_AT_ONCE):
        frames, _ = world.draw_clip(poses.rows(start, start + _CLIPS_AT_ONCE))
        means.append(clips.encode(frames)[0].transpose(1, 2).transpose(0, 1).flatten(1))
    values = torch.cat(means, 1)
    std = values.std(1)
    return values.mean(1), torch.maximum(std, _LEAST_STD * std.square().mean().sqrt())


@torch.no_grad()
def report_reconstruction(clips: ClipVae, count: int, device: torch.device) -> None:
    """Logs PSNR (whole frames, and around the object) and the judge's verdict, with and without latent noise."""
    judge, poses = Judge.load(device), _clips(count, device)
    errors, near_errors = [], []
    right: dict[str, list[Tensor]] = {}
    for start in range(0, count, _CLIPS_AT_ONCE):
        part = poses.rows(start, start + _CLIPS_AT_ONCE)
        frames, coverage = world.draw_clip(part)
        mean, _ = clips.encode(frames)
        decoded = clips.decode(mean).clamp(-1, 1)
        noisy = clips.decode(mean + _NOISE * torch.randn_like(mean)).clamp(-1, 1)
        error = (decoded - frames).square()
        near = max_pool2d(coverage.flatten(0, 1), 5, 1, 2).view_as(coverage)
        errors.append(error.mean((1, 2, 3, 4)))
        near_errors.append((error * near).sum((1, 2, 3, 4)) / (3 * near.sum((1, 2, 3, 4)) + 1e-6))
        wanted = part.attributes[:, -1]
        for label, clip in (("clean", decoded), ("noisy", noisy)):
            verdict = judge.measure((clip[:, -12:] + 1) / 2)
            for name, values in verdict.correct(wanted).items():
                right.setdefault(f"{label} {name}", []).append(values.float())
    for label, values in (("whole frames", errors), ("around the object", near_errors)):
        psnr = -10 * torch.log10(torch.cat(values) / 4 + 1e-9)
        _log.info("PSNR %s: mean %.2f dB, 5 %% of clips below %.2f dB", label, psnr.mean(), psnr.quantile(0.05))
    _log.info("judged right: %s", {name: round(torch.cat(v).mean().item(), 4) for name, v in right.items()})
