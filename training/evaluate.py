"""Judges the model from its decoded frames: many prompts in one batch, a change of prompt, a long stream.

    python -m training.evaluate --vae vae.safetensors --model run/model.safetensors --out run/report

Writes report.json (the share of correct streams, by check) and samples.png. `training.evaluate_system` judges the
whole program in the same way.
"""

import argparse
import json
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from pp1_orchestrator.models.wan.attention import KeyValue
from training.common import load_weights, mixed_precision, set_up
from training.judge import Judge
from training.latent_space import LatentSpace
from training.model import TinyModel
from training.scene_scripts import random_prompt
from training.streaming import BatchStream, ChunkBlock, chunk_block
from training.tokenizer import build_tokenizer, encode
from training.world import MOTIONS, SHAPES, SIZES, Attribute

_log = logging.getLogger(__name__)
_HISTORY_CHUNKS = 2  # decoded before the judged chunk, to fill the decoder's cache
_SHOWN_MISSES = 12
_LONG = range(190, 200)  # the judged chunks of a long stream


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is judged.

    Args:
        prompts: number of streams.
        switch: the first chunk with the second caption.
        chunks: the judged chunks.
        samples: streams in samples.png.
    """

    prompts: int = 200
    switch: int = 5
    chunks: tuple[int, ...] = (0, 1, 4, 5, 6, 7, 100, *_LONG)
    samples: int = 12
    seed: int = 77


@dataclass(slots=True)
class Prompts:
    """N prompts: their attributes [N, 6], and the keys and values of their embeddings."""

    attributes: Tensor
    text: list[KeyValue]


class Evaluator:
    """Streams with one model and judges the frames."""

    def __init__(
        self, model: TinyModel, space: LatentSpace, device: torch.device, block: ChunkBlock = chunk_block
    ) -> None:
        self._model, self.space, self.device = model.eval(), space, device
        self.judge, self._tokenizer = Judge.load(device), build_tokenizer()
        self._block = block

    def prompts(self, count: int, rng: random.Random) -> Prompts:
        """Draws and encodes random prompts."""
        texts, scenes = zip(*(random_prompt(rng) for _ in range(count)), strict=True)
        return Prompts(torch.tensor([scene.ids() for scene in scenes], device=self.device), self.embed(texts))

    def embed(self, texts: Sequence[str]) -> list[KeyValue]:
        """The keys and values of the texts' embeddings, of every block."""
        tokens = encode(self._tokenizer, texts).to(self.device)
        with torch.no_grad(), mixed_precision(self.device):
            return self._model.generator.embed_text(self._model.encode_text(tokens))

    def stream(self) -> BatchStream:
        """Streams that have not started."""
        return BatchStream(self._model.generator, self._block)

    @torch.no_grad()
    def run(self, settings: Evaluation) -> tuple[dict[str, dict[str, float]], Tensor]:
        """The share of correct streams by check, and sample frames [N, T, 3, H, W]."""
        torch.manual_seed(settings.seed)
        rng = random.Random(settings.seed)
        first, second = self.prompts(settings.prompts, rng), self.prompts(settings.prompts, rng)
        stream = self.stream()
        latents: list[Tensor] = []
        report: dict[str, dict[str, float]] = {}
        samples = []
        for chunk in range(max(settings.chunks) + 1):
            prompts = first if chunk < settings.switch else second
            with mixed_precision(self.device):
                latents.append(stream.next(prompts.text, settings.prompts, self.device).float())
            latents = latents[-(_HISTORY_CHUNKS + 1) :]
            if chunk in settings.chunks:
                frames = self._last_frames(latents)
                report[_label(chunk, settings)] = self._check(frames, prompts.attributes, chunk)
                if chunk <= settings.switch + 2 or chunk == max(settings.chunks):
                    samples.append(frames[: settings.samples, 1::3])
        return report, torch.cat(samples, 1)

    def _last_frames(self, latents: Sequence[Tensor]) -> Tensor:
        frames = self.space.decode(torch.cat(list(latents), 1))
        return frames[:, -12:]

    def _check(self, frames: Tensor, attributes: Tensor, chunk: int) -> dict[str, float]:
        verdict = self.judge.measure((frames + 1) / 2)
        correct = verdict.correct(attributes)
        shares = {name: round(values.float().mean().item(), 4) for name, values in correct.items()}
        _log.info("chunk %d: %s", chunk, shares)
        for name, seen in (("shape", verdict.shape), ("motion", verdict.motion)):
            wrong = (~correct[name]).nonzero().flatten()[:_SHOWN_MISSES].tolist()
            if wrong:
                _log.info("  %s missed: %s", name, "; ".join(_miss(attributes[i], seen[i], name) for i in wrong))
        return shares


def _label(chunk: int, settings: Evaluation) -> str:
    if chunk < settings.switch:
        return f"chunk {chunk}"
    return f"chunk {chunk}, {chunk - settings.switch + 1} after the switch"


def _miss(wanted: Tensor, seen: Tensor, name: str) -> str:
    shape, motion = [*SHAPES, "none"], MOTIONS
    size = list(SIZES)[int(wanted[Attribute.SIZE])]
    what = f"{size} {shape[int(wanted[Attribute.SHAPE])]} {motion[int(wanted[Attribute.MOTION])]}"
    return f"{what} as {(shape if name == 'shape' else motion)[int(seen)]}"


def mean_of(report: dict[str, dict[str, float]], first: int, last: int) -> dict[str, float]:
    """Mean shares of the checks of chunks first…last."""
    rows = [shares for label, shares in report.items() if first <= int(label.split(",")[0].split()[1]) <= last]
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in rows[0]}


def save_samples(frames: Tensor, path: Path) -> None:
    """Writes frames [N, T, 3, H, W] in [-1, 1] as an image with a row for each stream."""
    rows = torch.cat([torch.cat(list(row), -1) for row in frames.float().cpu()], 1)
    small = interpolate(rows[None], scale_factor=0.5, mode="area")[0]
    pixels = ((small + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    Image.fromarray(pixels.numpy()).save(path)


def write_report(evaluator: Evaluator, settings: Evaluation, folder: Path) -> None:
    """Runs the evaluation and writes report.json and samples.png to `folder`."""
    report, samples = evaluator.run(settings)
    if max(settings.chunks) >= _LONG[-1]:
        report["mean of chunks 190 to 199"] = mean_of(report, _LONG[0], _LONG[-1])
        _log.info("chunks 190 to 199: %s", report["mean of chunks 190 to 199"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    save_samples(samples, folder / "samples.png")


def command(description: str, seed: int) -> argparse.ArgumentParser:
    """The command line that all evaluations have; each adds its own options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=seed)
    return parser


def load_evaluator(options: argparse.Namespace) -> Evaluator:
    """Of the model and the VAE that such a command line names."""
    device = set_up(options.seed)
    model, space = TinyModel().to(device), LatentSpace(device, compiled=False)
    load_weights(options.model, model)
    space.load(options.vae)
    return Evaluator(model, space, device)


def main() -> None:
    parser = command("Judge the model from decoded frames.", 77)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--last-chunk", type=int, default=199)
    options = parser.parse_args()
    chunks = tuple(c for c in Evaluation().chunks if c <= options.last_chunk)
    settings = replace(Evaluation(), prompts=options.prompts, chunks=chunks, seed=options.seed)
    write_report(load_evaluator(options), settings, options.out)


if __name__ == "__main__":
    main()
