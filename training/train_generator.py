"""Trains the generator and the text encoder together.

    python -m training.train_generator --stage joint --vae vae.safetensors --out run --seconds 400
    python -m training.train_generator --stage finetune --vae vae.safetensors --init run/model.safetensors --out run
    python -m training.train_generator --stage video --vae vae.safetensors --init run/model.safetensors --out run

`joint` starts from initial weights, with teacher forcing and, in the second half, self-rollout. `finetune` continues
from weights, with self-rollout on long streams from its first step. `video` does the same, and four in ten clips and
streams have an input: it teaches video to video. Writes model.safetensors (averaged weights) and resume.safetensors
(raw weights).
"""

import argparse
import copy
import logging
import random
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from training.clip_pool import ClipBatch, Pool
from training.common import Schedule, load_weights, mixed_precision, save_weights, set_up, wait_for
from training.cuda_graph import CudaGraphed
from training.evaluate import Evaluation, Evaluator, write_report
from training.expert import Expert
from training.judge import Judge
from training.latent_space import LatentSpace
from training.losses import LossReport, self_rollout_loss, teacher_forcing_loss
from training.model import TinyModel, is_hidden
from training.optimizer import Average, MuonAdamW, warmup_then_linear
from training.progress import Progress
from training.rollout import Rollout, RolloutSettings, Tools
from training.rollout_batches import Rollouts, groups_of
from training.scene_scripts import Scripts, make_scripts
from training.streaming import chunk_block, compiled_chunk_block
from training.teacher_forcing import ClipGenerator, clip_block
from training.tokenizer import build_tokenizer
from training.video_pool import VideoPool
from training.video_scripts import VideoScripts, make_video_scripts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GeneratorTraining:
    """The settings of one stage.

    Args:
        rate: Muon's peak learning rate.
        rollout_share: the share of self-rollout steps, once progress has reached `rollout_from`.
        video_batch: how many clips of a batch have an input.
        video_pool: pairs of an input and what it becomes.
    """

    seconds: float
    max_steps: int | None = None
    pool: int = 16000
    chunks: int = 6
    batch: int = 32
    rollout_batch: int = 48
    rate: float = 3e-3
    adam_ratio: float = 0.6
    weight_decay: float = 0.02
    warmup: int = 150
    decay: float = 0.5
    average: float = 0.998
    rollout_share: float = 0.4
    rollout_from: float = 0.5
    video_batch: int = 0
    video_pool: int = 0
    save_every_s: float = 90.0
    rollout: RolloutSettings = field(default_factory=RolloutSettings)


def stage(name: str, seconds: float, smoke: bool) -> GeneratorTraining:
    """The settings of a stage by name. `smoke` reduces it to a few tiny steps."""
    config = {
        "joint": GeneratorTraining(seconds),
        "finetune": GeneratorTraining(
            seconds, pool=8000, rate=2e-3, warmup=50, decay=0.85, rollout_share=0.5, rollout_from=0.0
        ),
        "video": GeneratorTraining(
            seconds,
            pool=5000,
            rate=2e-3,
            warmup=100,
            decay=0.85,
            rollout_share=0.5,
            rollout_from=0.0,
            video_batch=13,
            video_pool=4000,
            rollout=RolloutSettings(video_lives=(1, 2, 8)),
        ),
    }[name]
    if not smoke:
        return config
    tiny = RolloutSettings(streams=2, chunks=3, lives=(1, 3), video_lives=(2,) if config.video_batch else ())
    return replace(
        config,
        max_steps=4,
        pool=4,
        chunks=4,
        batch=2,
        rollout_batch=2,
        rollout_share=0.9,
        rollout_from=0.0,
        rollout=tiny,
        video_batch=min(config.video_batch, 1),
        video_pool=min(config.video_pool, 2),
    )


class GeneratorTrainer:
    """Owns the model, its average, the optimiser and the sources of batches."""

    def __init__(
        self, config: GeneratorTraining, scripts: Scripts, device: torch.device, video: VideoScripts | None = None
    ) -> None:
        self.config, self.device = config, device
        compiled = device.type == "cuda"
        self.model = TinyModel().to(device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.space = LatentSpace(device, compiled)
        self.pool = Pool(scripts, config.chunks, device)
        self.video_pool = None if video is None else VideoPool(video, config.chunks, device)
        self.stream_block = compiled_chunk_block() if compiled else chunk_block
        tools = Tools(self.space, Expert(Judge.load(device), device), self.stream_block, device)
        self._rollouts = Rollouts(groups_of(config.rollout, scripts, video, tools), config.rollout.uses)
        if compiled:
            self.model.compile_text()
        self._clip = ClipGenerator(
            self.model.generator, torch.compile(clip_block, dynamic=False) if compiled else clip_block
        )
        self._ema = Average(self.model, self.average, config.average)
        self._optimizer = MuonAdamW(self.model.named_parameters(), is_hidden, config.weight_decay, config.adam_ratio)
        self._teacher = CudaGraphed(self._teacher_step, device)
        self._rollout_steps: dict[bool, tuple[Rollout, CudaGraphed[LossReport]]] = {}

    def step(self, rollout: bool, step: int, rate: float) -> LossReport:
        """One optimiser step on a batch of either kind. The next step overwrites the report."""
        self._optimizer.set_rate(rate)
        self._ema.set_step(step)
        if not rollout:
            return self._teacher()
        batch = self._rollouts.next(self.average, self.config.rollout_batch)
        running = batch.past is not None
        if running not in self._rollout_steps:
            self._rollout_steps[running] = batch, CudaGraphed(partial(self._rollout_step, batch), self.device)
        kept, run = self._rollout_steps[running]
        if kept is not batch:
            kept.fill(batch)
        return run()

    def encode_pools(self) -> None:
        """Draws and encodes all clips."""
        self.pool.encode(self.space)
        if self.video_pool is not None:
            self.video_pool.encode(self.space)

    def _batch(self) -> ClipBatch:
        config = self.config
        if self.video_pool is None:
            return self.pool.batch(config.batch)
        return self.pool.batch(config.batch - config.video_batch).joined(self.video_pool.batch(config.video_batch))

    def _teacher_step(self) -> LossReport:
        with mixed_precision(self.device):
            return self._learn(*teacher_forcing_loss(self.model, self._clip, self._batch()))

    def _rollout_step(self, batch: Rollout) -> LossReport:
        with mixed_precision(self.device):
            return self._learn(*self_rollout_loss(self.model, self._clip, batch))

    def _learn(self, loss: Tensor, report: LossReport) -> LossReport:
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self._ema.update()
        return report

    def warm_up(self) -> None:
        """Compiles and captures all steps on noise, at rate zero, which does not change the model."""
        self.step(False, 0, 0.0)
        while len(self._rollout_steps) < 2:  # new streams and running streams
            self.step(True, 0, 0.0)
            self._rollouts.skip()
        self.restart()
        _log.info("warmed up")

    def restart(self) -> None:
        """Resets optimiser, average and streams to the model's current weights."""
        self.average.load_state_dict(self.model.state_dict())
        self._optimizer.reset()
        self._rollouts.restart()


def train(trainer: GeneratorTrainer, out: Path, seed: int) -> None:
    """Runs a stage. Saves at intervals and at the end."""
    config, chance = trainer.config, random.Random(seed)
    schedule = Schedule(config.seconds, config.max_steps)
    progress, saved = Progress(schedule), 0.0
    while schedule.progress < 1:
        now = schedule.progress
        rate = config.rate * warmup_then_linear(now, schedule.steps, config.warmup, config.decay)
        rollout = now >= config.rollout_from and chance.random() < config.rollout_share
        report = trainer.step(rollout, schedule.steps, rate)
        schedule.steps += 1
        progress.add(rollout, report)
        if schedule.elapsed - saved > config.save_every_s:
            saved = schedule.elapsed
            save(trainer, out)
    save(trainer, out)
    _log.info("%d steps in %.0f s", schedule.steps, schedule.elapsed)


def save(trainer: GeneratorTrainer, out: Path) -> None:
    """Writes the averaged and the raw weights."""
    save_weights(out / "model.safetensors", trainer.average)
    save_weights(out / "resume.safetensors", trainer.model)


def main() -> None:
    """Prepares everything, waits for the VAE's checkpoint, and trains."""
    parser = argparse.ArgumentParser(description="Train the generator and the text encoder.")
    parser.add_argument("--stage", choices=("joint", "finetune", "video"), required=True)
    parser.add_argument("--vae", type=Path, required=True, help="checkpoint; may appear later")
    parser.add_argument("--init", type=Path, help="weights to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--rate", type=float, help="peak learning rate (default: the stage's)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="judge the result like training.evaluate")
    parser.add_argument("--smoke", action="store_true", help="a few tiny steps, to see that everything runs")
    options = parser.parse_args()
    device = set_up(options.seed)
    config = stage(options.stage, options.seconds, options.smoke)
    if options.rate is not None:
        config = replace(config, rate=options.rate)
    tokenizer, rng = build_tokenizer(), random.Random(options.seed)
    scripts = make_scripts(config.pool, config.chunks, tokenizer, rng)
    video = make_video_scripts(config.video_pool, config.chunks, tokenizer, rng) if config.video_pool else None
    trainer = GeneratorTrainer(config, scripts, device, video)
    if options.init is not None:
        load_weights(options.init, trainer.model)
    if device.type == "cuda":
        trainer.warm_up()
    wait_for(options.vae)
    trainer.space.load(options.vae)
    trainer.encode_pools()
    _log.info("%d clips encoded", config.pool + 2 * config.video_pool)
    trainer.restart()
    train(trainer, options.out, options.seed)
    if options.report:
        evaluator = Evaluator(trainer.average, trainer.space, device, trainer.stream_block)
        write_report(evaluator, replace(Evaluation(), prompts=config.rollout.streams), options.out)


if __name__ == "__main__":
    main()
