"""Streams of the shipped model with each cache policy, rope mode and number of steps, judged at some chunks.

Each stream is one prompt, denoised and decoded in this process. The same prompts and noise for all variants.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from pp1_orchestrator.app.strategy_registry import Registry, check
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.contract.envelope import latent_size
from pp1_orchestrator.loading.stage0_models import load_encoder, load_vae_parts
from pp1_orchestrator.mesh.build_generator import load_weights, make_generator
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.wan.sampler import initial_noise
from pp1_orchestrator.models.wan.tensor_parallel import Place
from training.judge import Judge
from training.scene_scripts import random_prompt
from training.world import Scene

CONF = Path(__file__).parents[2] / "conf"
JUDGED = (1, 20, 200, 2_000)
AFTER, LEAD, SEED = 5, 3, 7
"""Chunks judged from each of these on; chunks before them that the decoder sees; of prompts and noise."""
SINK = ("model.window.sink=3",)
VARIANTS: Mapping[str, Sequence[str]] = {
    "cache=ring, no sink": (),
    "cache=ring, sink 3": SINK,
    "cache=ema_sink, sink 3": (*SINK, "cache=ema_sink"),
    "cache=adaptive_sink, sink 3": (*SINK, "cache=adaptive_sink"),
    "cache=memory_bank, bank 3": ("cache=memory_bank",),
    "cache=pinned, sink 6": ("model.window.sink=6", "cache=pinned"),
    "rope=relative, sink 3": (*SINK, "context.rope=relative"),
    "rope=relative, cache=ema_sink": (*SINK, "context.rope=relative", "cache=ema_sink"),
    "2 steps": ("model.steps=[1000,500]",),
    "1 step": ("model.steps=[1000]",),
    "8 steps": ("model.steps=[1000,875,750,625,500,375,250,125]",),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """streams: prompts of each variant. judged: chunks. settings: further ones, such as of a device."""

    streams: int
    judged: Sequence[int]
    settings: Sequence[str] = ()


def table(asked: Asked, variants: Mapping[str, Sequence[str]] = VARIANTS) -> Iterator[str]:
    """Markdown, row by row: the share of judged chunks that are right, for each variant and judged chunk."""
    rng = random.Random(SEED)
    prompts = [random_prompt(rng) for _ in range(asked.streams)]
    names: list[str] = []
    for variant, options in variants.items():
        right = judge_variant(prompts, [*options, *asked.settings], asked.judged)
        if not names:
            names = sorted(next(iter(right.values())))
            yield f"| variant | chunk | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}"
        for chunk, found in right.items():
            shares = (f"{100 * sum(found[name]) / len(found[name]):.0f} %" for name in names)
            yield f"| {variant} | {chunk} | {' | '.join(shares)} |"


def judge_variant(
    prompts: Sequence[tuple[str, Scene]], options: Sequence[str], judged: Sequence[int]
) -> dict[int, dict[str, list[float]]]:
    """For each judged chunk, by check, whether each of the chunks from it on is right, in all streams."""
    judge, right = Judge.load(), {chunk: dict[str, list[float]]() for chunk in judged}
    for (text, scene), pictures in zip(prompts, _streams(prompts, options, judged), strict=True):
        del text
        for chunk, clips in pictures.items():
            for clip in clips:
                for name, correct in judge.measure(clip).correct(torch.tensor([scene.ids()])).items():
                    right[chunk].setdefault(name, []).append(float(correct))
    return right


def _streams(
    prompts: Sequence[tuple[str, Scene]], options: Sequence[str], judged: Sequence[int]
) -> Iterator[dict[int, list[Tensor]]]:
    """The frames [1, T, 3, H, W] of each judged chunk and those after it, stream by stream."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = load_settings(compose("config", ["run=bench", "layout=inline", *options]))
    config, _ = check(settings, {"bench"})
    device, alone = torch.device(settings.layout.device), Place(0, 1)
    generator, _ = make_generator(load_weights(settings, config, alone, device), settings, config, alone)
    encoder, _ = load_encoder(settings, config, device, device)
    decoder, _, _ = load_vae_parts(settings, config, Registry(settings).decoder, device, with_encoder=False)
    size = latent_size(settings.stream.height, settings.stream.width)
    shape = (1, config.chunk_frames, config.in_dim, *size)
    ends = {chunk: chunk + AFTER for chunk in judged}
    for text, _ in prompts:
        generator.reset()
        generator.set_text(encoder.encode(text))
        kept: dict[int, Tensor] = {}
        for chunk in range(max(ends.values())):
            start = chunk * config.chunk_frames
            steps = settings.model.steps if chunk else settings.model.first_steps or settings.model.steps
            latents = generator.denoise(initial_noise(SEED, start, shape), steps, start, SEED)
            generator.write_context(latents, start)
            if any(first - LEAD <= chunk < end for first, end in ends.items()):
                kept[chunk] = latents[0]
        found: dict[int, list[Tensor]] = {}
        for first, end in ends.items():
            state = DecodeState()
            lead = range(max(0, first - LEAD), end)
            frames = [decoder.decode(kept[chunk], state).clamp(-1, 1).cpu() for chunk in lead]
            found[first] = [(clip[None] + 1) / 2 for clip in frames[first - lead.start :]]
        yield found
