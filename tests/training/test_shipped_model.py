"""The weights in the package: small enough, loadable by the package's own code, and right about fixed prompts."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

import pp1_orchestrator
from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae, make_decoder
from pp1_orchestrator.models.wan.load_generator import load_generator
from tests.models.config_file import read_config
from training.judge import Judge
from training.scene_scripts import random_prompt
from training.streaming import BatchStream

pytestmark = pytest.mark.slow

TINY = Path(pp1_orchestrator.__file__).parent / "models" / "tiny"
CPU = torch.device("cpu")
PROMPTS, CHUNKS, SWITCH = 4, 4, 2


@pytest.fixture(scope="module")
def streamed() -> tuple[Tensor, Tensor, Tensor]:
    """Frames of the chunk before and of the first chunk after a change of prompt, [2, PROMPTS, 12, 3, 128, 128], and
    what each of the two should show, [PROMPTS, 6]."""
    torch.manual_seed(3)
    rng = random.Random(3)
    texts, scenes = zip(*(random_prompt(rng) for _ in range(2 * PROMPTS)), strict=True)
    text_encoder = load_text_encoder(TextSource(TINY / "text_encoder", TINY / "tokenizer"), 48, CPU, torch.float32)
    generator = load_generator(TINY / "generator", read_config(TINY / "generator"), CPU, torch.float32)
    decoder = make_decoder(load_vae(VaeSource(TINY / "vae"), CPU, torch.float32))
    stream, states = BatchStream(generator), [DecodeState() for _ in range(PROMPTS)]
    embeds = text_encoder.encode(texts).clone()
    frames = []
    for chunk in range(CHUNKS):
        half = embeds[:PROMPTS] if chunk < SWITCH else embeds[PROMPTS:]
        latents = stream.next(generator.embed_text(half), PROMPTS, CPU)
        frames.append([decoder.decode(one, state) for one, state in zip(latents, states, strict=True)])
    judged = torch.stack([torch.stack(frames[chunk]) for chunk in (SWITCH - 1, SWITCH)])
    wanted = torch.tensor([scene.ids() for scene in scenes]).unflatten(0, (2, PROMPTS))
    return judged, wanted[0], wanted[1]


def test_the_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) <= 12e6


@pytest.mark.parametrize("when", [0, 1], ids=["before the switch", "first chunk after it"])
def test_prompts_are_followed(streamed: tuple[Tensor, Tensor, Tensor], when: int) -> None:
    frames, *wanted = streamed
    correct = Judge.load().measure((frames[when] + 1) / 2).correct(wanted[when])
    assert {name: values.tolist() for name, values in correct.items()} == {
        name: [True] * PROMPTS for name in ("color", "background", "shape", "motion")
    }
