"""Every training command's work, at its smallest, from nothing to files that the package loads."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae
from pp1_orchestrator.models.wan.load_generator import load_generator
from tests.models.config_file import read_config
from training.common import Schedule, load_weights
from training.evaluate import Evaluation, Evaluator, write_report
from training.export import export
from training.latent_space import save_vae
from training.model import TinyModel
from training.rollout import RolloutSettings
from training.scene_scripts import make_scripts
from training.tokenizer import build_tokenizer
from training.train_generator import GeneratorTrainer, GeneratorTraining, save
from training.train_vae import VaeTrainer, VaeTraining
from training.vae_forward import ClipVae
from training.vae_report import latent_statistics

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vae_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    trainer = VaeTrainer(VaeTraining(1.0, batch=1, frames=5, clips_at_once=2), CPU)
    before = [p.clone() for p in trainer.vae.parameters()]
    trainer.begin_step(0, 1e-3)
    figures = trainer.step()
    assert torch.isfinite(figures).all()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.vae.parameters(), strict=True))
    path = tmp_path_factory.mktemp("vae") / "vae.safetensors"
    save_vae(path, trainer.average, *latent_statistics(ClipVae(trainer.average), 1, CPU))
    return path


@pytest.mark.slow
def test_from_nothing_to_a_loadable_model(vae_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    rollout = RolloutSettings(streams=1, chunks=3, lives=(2,), uses=1)
    config = GeneratorTraining(1.0, pool=2, chunks=4, batch=1, rollout_batch=1, rollout=rollout)
    scripts = make_scripts(config.pool, config.chunks, build_tokenizer(), random.Random(0))
    trainer = GeneratorTrainer(config, scripts, CPU)
    trainer.space.load(vae_file)
    trainer.pool.encode(trainer.space)
    trainer.restart()
    for step, self_rollout in enumerate((False, True, True)):  # true clips, a stream's start, a running stream
        report = trainer.step(self_rollout, step, 1e-3)
        assert torch.isfinite(report.error).all()
    save(trainer, tmp_path)
    again = TinyModel()
    load_weights(tmp_path / "resume.safetensors", again)
    assert torch.equal(again.generator.head.head.weight, trainer.model.generator.head.head.weight)

    evaluator = Evaluator(trainer.average, trainer.space, CPU)
    write_report(evaluator, Evaluation(prompts=1, switch=1, chunks=(0, 1), samples=1), tmp_path / "report")
    assert (tmp_path / "report" / "report.json").stat().st_size > 0
    assert (tmp_path / "report" / "samples.png").stat().st_size > 0

    out = tmp_path / "tiny"
    export(vae_file, tmp_path / "model.safetensors", out)
    encoder = load_text_encoder(TextSource(out / "text_encoder", out / "tokenizer"), 48, CPU, torch.float32)
    assert encoder.encode(["a red circle"]).shape == (1, 48, 96)
    load_generator(out / "generator", read_config(out / "generator"), CPU, torch.float32)
    vae: Any = load_vae(VaeSource(out / "vae"), CPU, torch.float32)
    assert len(vae.config.latents_std) == 16


def test_a_schedule_ends_by_steps_or_by_time() -> None:
    by_steps = Schedule(seconds=1e9, max_steps=4)
    by_steps.steps = 2
    assert by_steps.progress == pytest.approx(0.5)
    assert Schedule(seconds=1e-9).progress == 1.0
