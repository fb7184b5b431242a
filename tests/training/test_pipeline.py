"""Every training command's work, at its smallest, from nothing to files that the package loads."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import pp1_orchestrator
from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae
from pp1_orchestrator.models.wan.load_generator import load_generator
from tests.models.config_file import read_config
from training.common import Schedule, load_weights
from training.evaluate import Evaluation, Evaluator, write_report
from training.evaluate_image import ImageEvaluation, write_image_report
from training.evaluate_video import VideoEvaluation, write_video_report
from training.export import export
from training.import_shipped import import_model, import_vae
from training.latent_space import LatentSpace, save_vae
from training.model import TinyModel
from training.rollout import RolloutSettings
from training.scene_scripts import make_scripts
from training.tokenizer import build_tokenizer, encode
from training.train_generator import GeneratorTrainer, GeneratorTraining, save
from training.train_vae import VaeTrainer, VaeTraining
from training.vae_forward import ClipVae
from training.vae_report import latent_statistics
from training.video_scripts import make_video_scripts

TINY = Path(pp1_orchestrator.__file__).parent / "models" / "tiny"
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


@pytest.mark.slow
def test_a_stage_with_inputs(vae_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    rollout = RolloutSettings(streams=1, chunks=3, lives=(1,), video_lives=(2,), uses=1)
    config = GeneratorTraining(
        1.0, pool=2, chunks=4, batch=2, rollout_batch=1, video_batch=1, video_pool=2, rollout=rollout
    )
    tokenizer, rng = build_tokenizer(), random.Random(0)
    scripts = make_scripts(config.pool, config.chunks, tokenizer, rng)
    trainer = GeneratorTrainer(
        config, scripts, CPU, make_video_scripts(config.video_pool, config.chunks, tokenizer, rng)
    )
    trainer.space.load(vae_file)
    trainer.encode_pools()
    trainer.restart()
    shares = []
    for step, self_rollout in enumerate((False, True, True, True, True)):
        report = trainer.step(self_rollout, step, 1e-3)
        assert torch.isfinite(report.error).all()
        shares.append(report.video.mean().item())
    assert shares == [0.5, 0.0, 1.0, 0.0, 1.0]  # pairs among the clips, then groups without and with inputs in turn

    evaluator = Evaluator(trainer.average, trainer.space, CPU)
    write_video_report(evaluator, VideoEvaluation(pairs=3, chunks=2, switch=1, strengths=(0.7,)), tmp_path)
    write_image_report(evaluator, ImageEvaluation(images=2, chunks=1), tmp_path)
    figures = json.loads((tmp_path / "video.json").read_text())["strength 0.7"]
    assert 0 <= figures["place_px_mean"] <= 91  # of a torus of 128 pixels
    assert json.loads((tmp_path / "image.json").read_text()).keys() == {"blank", "caption"}
    assert (tmp_path / "video.png").stat().st_size > 0


def test_shipped_weights_come_back_as_checkpoints(tmp_path: Path) -> None:
    import_model(TINY, tmp_path / "model.safetensors")
    import_vae(TINY / "vae", tmp_path / "vae.safetensors")
    model, space = TinyModel(), LatentSpace(CPU, compiled=False)
    load_weights(tmp_path / "model.safetensors", model)
    space.load(tmp_path / "vae.safetensors")
    shipped = load_generator(TINY / "generator", read_config(TINY / "generator"), CPU, torch.float32).state_dict()
    for name, value in model.generator.state_dict().items():
        assert torch.equal(value, shipped[name])
    encoder = load_text_encoder(TextSource(TINY / "text_encoder", TINY / "tokenizer"), 48, CPU, torch.float32)
    embedded = model.encode_text(encode(build_tokenizer(), ["a red circle"]))
    torch.testing.assert_close(embedded, encoder.encode(["a red circle"]), rtol=1e-4, atol=1e-4)


def test_a_schedule_ends_by_steps_or_by_time() -> None:
    by_steps = Schedule(seconds=1e9, max_steps=4)
    by_steps.steps = 2
    assert by_steps.progress == pytest.approx(0.5)
    assert Schedule(seconds=1e-9).progress == 1.0
