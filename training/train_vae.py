"""Trains the VAE on drawn clips.

    python -m training.train_vae --out vae.safetensors --seconds 200

Clips have 13 frames, 45 % of them with a cut. The loss is L1 + 2·L2, weighted around the object, with a small KL term.
Noise on the latents prepares the decoder for the generator's errors. Writes one file with the averaged weights and the
statistics of the latents.
"""

import argparse
import copy
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from training import world
from training.common import Schedule, mixed_precision, set_up
from training.cuda_graph import CudaGraphed
from training.latent_space import save_vae
from training.optimizer import Average, MuonAdamW, warmup_then_linear
from training.random_attributes import random_attributes
from training.scene_scripts import difficulty
from training.vae_forward import ClipVae, make_vae
from training.vae_report import latent_statistics, report_reconstruction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VaeTraining:
    """The settings of a run. `rate` is Muon's peak learning rate."""

    seconds: float
    max_steps: int | None = None
    batch: int = 16
    frames: int = 13
    rate: float = 3e-3
    warmup: int = 100
    decay: float = 0.6
    weight_decay: float = 1e-3
    p_cut: float = 0.45
    kl_weight: float = 5e-4
    latent_noise: float = 0.15
    object_weight: float = 4.0
    clips_at_once: int = 2048
    refill_steps: int = 128
    report_clips: int = 300
    average: float = 0.998


def is_hidden(name: str, parameter: nn.Parameter) -> bool:
    """Whether Muon trains a parameter: the kernels between hidden channels."""
    matrix = parameter.ndim >= 4 and min(parameter.flatten(1).shape) > 1
    return matrix and "conv_in" not in name and "decoder.conv_out" not in name


def clip_poses(count: int, frames: int, p_cut: float, device: torch.device) -> world.Poses:
    """Random clips. In a share `p_cut` of them, the scene changes between two latent frames."""
    attributes = random_attributes(count, 2, device)
    cut = 1 + 4 * torch.randint(0, (frames - 1) // 4, (count,), device=device)
    cut = torch.where(torch.rand(count, device=device) < p_cut, cut, frames)
    segment = (torch.arange(frames, device=device)[None] >= cut[:, None]).long()
    per_frame = attributes.gather(1, segment[..., None].expand(-1, -1, attributes.shape[-1]))
    return world.simulate(world.random_state(count, device), per_frame)


class ClipBank:
    """Random clips, stored as poses. Frames are drawn for each batch."""

    def __init__(self, config: VaeTraining, device: torch.device) -> None:
        self._config, self._device = config, device
        self._cover = torch.compile(world.cover, dynamic=False) if device.type == "cuda" else world.cover
        self._poses = self._make()

    def _make(self) -> world.Poses:
        return clip_poses(self._config.clips_at_once, self._config.frames, self._config.p_cut, self._device)

    def refill(self) -> None:
        """Replaces all clips, in place."""
        fresh = self._make()
        for name in world.Poses.__slots__:
            getattr(self._poses, name).copy_(getattr(fresh, name))

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Frames and coverage of a random batch, and the loss weight [B, T] of each frame."""
        config, poses = self._config, self._poses
        rows = torch.randint(0, config.clips_at_once, (config.batch,), device=self._device)
        picked = world.Poses(*(getattr(poses, name)[rows] for name in world.Poses.__slots__))
        return *world.draw_clip(picked, self._cover), difficulty(picked.attributes)


class VaeTrainer:
    """Owns the model, its average and the optimiser."""

    def __init__(self, config: VaeTraining, device: torch.device) -> None:
        self.config, self.device = config, device
        self.vae = make_vae(device)
        for parameter in self.vae.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.vae).eval().requires_grad_(False)
        self._clips = ClipVae(self.vae, compiled=device.type == "cuda")
        self._ema = Average(self.vae, self.average, config.average)
        self._optimizer = MuonAdamW(self.vae.named_parameters(), is_hidden, config.weight_decay)
        self._bank = ClipBank(config, device)
        self._graphed = CudaGraphed(self._step, device)

    def loss(self, frames: Tensor, coverage: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The loss and, for the log, (reconstruction, KL, mean squared error)."""
        config = self.config
        with mixed_precision(self.device):
            mean, log_variance = self._clips.encode(frames)
            noise = torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            extra = config.latent_noise * torch.rand(len(mean), 1, 1, 1, 1, device=self.device)
            decoded = self._clips.decode(mean + noise + extra * torch.randn_like(mean))
        error = decoded.float() - frames
        near = max_pool2d(coverage.flatten(0, 1), 9, 1, 4).view_as(coverage)
        pixel_weight = 1 + config.object_weight * near * weight[:, :, None, None, None]
        reconstruction = ((error.abs() + 2 * error.square()) * pixel_weight).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        figures = torch.stack([reconstruction.detach(), kl.detach(), error.detach().square().mean()])
        return reconstruction + config.kl_weight * kl, figures

    def step(self) -> Tensor:
        """One optimiser step on a random batch. Returns the figures of `loss`, which the next step overwrites."""
        return self._graphed()

    def begin_step(self, step: int, rate: float) -> None:
        """Sets what changes from step to step."""
        if step % self.config.refill_steps == 0:
            self._bank.refill()
        self._optimizer.set_rate(rate)
        self._ema.set_step(step)

    def _step(self) -> Tensor:
        loss, figures = self.loss(*self._bank.batch())
        self.vae.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self._optimizer.step()
        self._ema.update()
        return figures


def train(config: VaeTraining, device: torch.device) -> VaeTrainer:
    """Trains the VAE. Time counts from the end of a first step at rate zero, which compiles everything."""
    trainer = VaeTrainer(config, device)
    trainer.begin_step(0, 0.0)
    trainer.step()
    schedule = Schedule(config.seconds, config.max_steps)
    figures: list[Tensor] = []
    while schedule.progress < 1:
        factor = warmup_then_linear(schedule.progress, schedule.steps, config.warmup, config.decay)
        trainer.begin_step(schedule.steps, config.rate * factor)
        figures.append(trainer.step().clone())
        schedule.steps += 1
        if schedule.steps in (50, 200) or schedule.steps % 1000 == 0:
            reconstruction, kl, error = torch.stack(figures).mean(0).tolist()
            psnr = -10 * math.log10(error / 4)
            pace = 1e3 * schedule.elapsed / schedule.steps
            text = "step %d reconstruction %.4f kl %.3f psnr %.2f dB, %.1f ms a step"
            _log.info(text, schedule.steps, reconstruction, kl, psnr, pace)
            figures.clear()
    _log.info("%d steps in %.0f s", schedule.steps, schedule.elapsed)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the VAE on drawn clips.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few tiny steps, to see that everything runs")
    options = parser.parse_args()
    device = set_up(options.seed)
    config = VaeTraining(options.seconds)
    if options.smoke:
        config = VaeTraining(options.seconds, max_steps=2, batch=2, frames=5, clips_at_once=4, report_clips=2)
    trainer = train(config, device)
    clips = ClipVae(trainer.average)
    mean, std = latent_statistics(clips, config.report_clips, device)
    save_vae(options.out, trainer.average, mean, std)
    report_reconstruction(clips, config.report_clips, device)


if __name__ == "__main__":
    main()
