"""Long streams of the shipped model with a sink: absolute and relative positions, judged by what is seen.

    python -m benchmarks.sink_positions text FOLDER   # on any machine: prompts to embeddings
    python -m benchmarks.sink_positions make FOLDER --device cuda   # keeps the latents around the judged chunks
    python -m benchmarks.sink_positions judge FOLDER  # on any machine: decodes and judges them

`make` also prints the milliseconds per chunk and the memory in use, and needs no packages but torch's and msgspec.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from benchmarks.machine import describe
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.cuda_graphs import fast_runner
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.load_generator import load_generator
from pp1_orchestrator.models.wan.sampler import initial_noise
from pp1_orchestrator.models.wan.schedule import FlowSchedule

ROOT = Path(__file__).parents[1]
TINY = ROOT / "pp1_orchestrator" / "models" / "tiny"
JUDGED = (20, 200, 2_000, 9_990)
LEAD = 4
"""Chunks before a judged one, which the decoder sees first."""
STREAMS, AFTER, SINK, SIDE, SEED = 5, 10, 3, 16, 7
MODES = ("absolute", "relative")


def write_text(folder: Path) -> None:
    """The prompts, what they ask for, and their embeddings."""
    import random

    from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
    from training.scene_scripts import random_prompt

    source = TextSource(TINY / "text_encoder", TINY / "tokenizer")
    encoder = load_text_encoder(source, _model()["sizes"]["text_len"], torch.device("cpu"), torch.float32)
    rng = random.Random(SEED)
    prompts = [random_prompt(rng) for _ in range(STREAMS)]
    torch.save(torch.cat([encoder.encode([text]) for text, _ in prompts]), folder / "text.pt")
    (folder / "wanted.json").write_text(json.dumps([list(scene.ids()) for _, scene in prompts]))


def make(folder: Path, device: torch.device, chunks: int) -> None:
    """All streams in both modes."""
    texts = torch.load(folder / "text.pt", weights_only=True)
    columns = ("positions", "stream", "ms per chunk", "MiB at chunk 100", "at the end")
    sys.stdout.write(f"{describe()}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
    for number, text in enumerate(texts):
        for mode in MODES:
            kept, figures = _stream(mode, text[None], device, chunks)
            torch.save(kept, folder / f"{mode}-{number}.pt")
            sys.stdout.write(f"| {mode} | {number} | {' | '.join(f'{figure:.2f}' for figure in figures)} |\n")
            sys.stdout.flush()


def _model() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "conf" / "model" / "tiny.yaml").read_text())


def _stream(mode: str, text: Tensor, device: torch.device, chunks: int) -> tuple[dict[int, Tensor], list[float]]:
    model, window = _model(), _model()["window"]
    config = WanConfig(
        **model["sizes"], chunk_frames=window["chunk"], local_attn_size=window["frames"], sink_frames=SINK
    )
    weights = load_generator(TINY / "generator", config, device, torch.float32)
    cache = KVCache(config, (SIDE, SIDE), relative=mode == "relative", device=device)
    runner = fast_runner(weights, cache, fp8=False) if device.type == "cuda" else None
    generator = CausalGenerator(weights, cache, FlowSchedule(model["shift"], model["warp"]), runner)
    shape = (1, config.chunk_frames, config.in_dim, SIDE, SIDE)
    if device.type == "cuda":
        generator.warm_up(tuple(text.shape), shape)
    generator.set_text(text)
    kept: dict[int, Tensor] = {}
    memory: list[float] = []
    began_s = time.monotonic()
    for chunk in range(chunks):
        start = chunk * config.chunk_frames
        latents = generator.denoise(initial_noise(SEED, start, shape), tuple(model["steps"]), start, SEED)
        generator.write_context(latents, start)
        if any(first - LEAD <= chunk < first + AFTER for first in JUDGED):
            kept[chunk] = latents.cpu()
        if chunk in (100, chunks - 1) and device.type == "cuda":
            memory.append(torch.cuda.memory_allocated() / 2**20)
    return kept, [(time.monotonic() - began_s) * 1e3 / chunks, *memory]


def judge(folder: Path) -> None:
    """A row for each mode and judged chunk: the share of chunks that show what the prompt asks for."""
    from training.judge import Judge

    judge, wanted = Judge.load(), json.loads((folder / "wanted.json").read_text())
    rows: dict[tuple[str, int], dict[str, list[float]]] = {}
    for mode in MODES:
        for number, scene in enumerate(wanted):
            kept = torch.load(folder / f"{mode}-{number}.pt", weights_only=True)
            for first in JUDGED:
                for frames in _decoded([kept[chunk] for chunk in range(first - LEAD, first + AFTER) if chunk in kept]):
                    for name, right in judge.measure(frames).correct(torch.tensor([scene])).items():
                        rows.setdefault((mode, first), {}).setdefault(name, []).append(float(right))
    names = sorted(next(iter(rows.values())))
    sys.stdout.write(f"| positions | chunk | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}\n")
    for (mode, first), found in rows.items():
        shares = (f"{100 * sum(found[name]) / len(found[name]):.0f} %" for name in names)
        sys.stdout.write(f"| {mode} | {first} | {' | '.join(shares)} |\n")


def _decoded(latents: Sequence[Tensor]) -> list[Tensor]:
    """The frames of each chunk but the leading ones, [1, 12, 3, H, W]."""
    from pp1_orchestrator.models.vae.base import DecodeState
    from pp1_orchestrator.models.vae.load_vae import VaeSource, WanVaeLoader

    widths = yaml.safe_load((ROOT / "conf" / "stage0" / "wan_vae.yaml").read_text())["widths"]
    source = VaeSource(TINY / "vae", tuple(widths), None)
    decoder = WanVaeLoader().load(source, torch.device("cpu"), torch.float32, with_encoder=False).decoder
    state = DecodeState()
    frames = [decoder.decode(chunk[0], state).clamp(-1, 1) for chunk in latents]
    return [(chunk[None] + 1) / 2 for chunk in frames[LEAD:]]


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("text", "make", "judge"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--chunks", type=int, default=10_000)
    options = parser.parse_args(words)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.step == "text":
        write_text(options.folder)
    elif options.step == "make":
        make(options.folder, options.device, options.chunks)
    else:
        judge(options.folder)


if __name__ == "__main__":
    main()
