"""One pass over a clip equals the stream chunk by chunk, from the start and from a running stream's past."""

from __future__ import annotations

import pytest
import torch

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel
from training.model import TinyModel
from training.streaming import BatchStream
from training.teacher_forcing import ClipGenerator

CONFIG = WanConfig(dim=24, ffn_dim=32, num_heads=2, num_layers=2, text_dim=96, text_len=6, freq_dim=16)
BATCH, CHUNKS, SIZE = 2, 6, 4


@pytest.fixture(scope="module")
def generator() -> CausalWanModel:
    torch.manual_seed(0)
    model = TinyModel(CONFIG).generator.double()
    torch.nn.init.normal_(model.head.head.weight)
    return model.eval()


def run_stream(
    generator: CausalWanModel, clean: torch.Tensor, noisy: torch.Tensor, text: torch.Tensor, segments: torch.Tensor
) -> tuple[list[torch.Tensor], list[object]]:
    stream, flows, pasts = BatchStream(generator), [], []
    everything = generator.embed_text(text.flatten(0, 1))
    for chunk in range(CHUNKS):
        rows = torch.arange(BATCH) * 2 + segments[:, chunk]
        chosen = [(k[rows], v[rows]) for k, v in everything]
        part = slice(3 * chunk, 3 * chunk + 3)
        pasts.append(stream.past(clean[:, 3 * chunk :]))
        flows.append(stream.predict(noisy[:, part], 500.0, chosen)[0])
        stream.commit(clean[:, part], chosen)
    return flows, pasts


def test_clip_equals_stream(generator: CausalWanModel) -> None:
    torch.manual_seed(1)
    clean, noisy = torch.randn(2, BATCH, 3 * CHUNKS, 16, SIZE, SIZE).double()
    text = torch.randn(BATCH, 2, 6, 96).double()
    segments = torch.tensor([[0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]])
    flows, pasts = run_stream(generator, clean, noisy, text, segments)
    clip = ClipGenerator(generator)
    whole = clip(clean, noisy, torch.full((BATCH, CHUNKS), 500.0), text, segments)
    torch.testing.assert_close(whole, torch.cat(flows, 1), rtol=1e-4, atol=1e-5)

    later = clip(clean[:, 12:], noisy[:, 12:], torch.full((BATCH, 2), 500.0), text, segments[:, 4:], pasts[4])
    torch.testing.assert_close(later, torch.cat(flows[4:], 1), rtol=1e-4, atol=1e-5)


def test_the_window_is_bounded(generator: CausalWanModel) -> None:
    torch.manual_seed(2)
    clean = torch.randn(BATCH, 3 * CHUNKS, 16, SIZE, SIZE).double()
    text, segments = torch.randn(BATCH, 2, 6, 96).double(), torch.zeros(BATCH, CHUNKS, dtype=torch.long)
    time = torch.full((BATCH, CHUNKS), 500.0)
    clip = ClipGenerator(generator)
    before = clip(clean, clean, time, text, segments)
    changed = clean.clone()
    changed[:, -3:] += 1
    after = clip(changed, clean, time, text, segments)
    assert torch.equal(before, after), "a chunk must not see its own or a later clean chunk"
