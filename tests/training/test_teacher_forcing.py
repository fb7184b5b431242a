"""One pass over a clip equals the stream chunk by chunk, from the start and from a running stream's past."""

import msgspec
import pytest
import torch

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.rope import rope_table
from training.model import TinyModel
from training.streaming import BatchStream
from training.teacher_forcing import ClipGenerator, Past

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
) -> tuple[list[torch.Tensor], list[Past | None]]:
    stream = BatchStream(generator)
    flows: list[torch.Tensor] = []
    pasts: list[Past | None] = []
    everything = generator.embed_text(text.flatten(0, 1))
    for chunk in range(CHUNKS):
        rows = torch.arange(BATCH) * 2 + segments[:, chunk]
        chosen = [(k[rows], v[rows]) for k, v in everything]
        part = slice(3 * chunk, 3 * chunk + 3)
        pasts.append(stream.past(clean[:, 3 * chunk :]))
        flows.append(stream.predict(noisy[:, part], torch.full((len(noisy),), 500.0), chosen)[0])
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


def test_batch_stream_equals_the_packages_cache(generator: CausalWanModel) -> None:
    torch.manual_seed(3)
    clean = torch.randn(1, 3 * CHUNKS, 16, SIZE, SIZE).double()
    text = generator.embed_text(torch.randn(1, 6, 96).double())
    sizes = msgspec.structs.replace(CONFIG, local_attn_size=12)
    cache = KVCache(sizes, (SIZE, SIZE), dtype=torch.float64)
    stream = BatchStream(generator)
    for start in range(0, 3 * CHUNKS, 3):
        part = clean[:, start : start + 3]
        rope = rope_table(12, start, 3, SIZE // 2, SIZE // 2)
        cache.begin(start)
        with torch.no_grad():
            wanted = generator(part, torch.full((1,), 250.0), text, cache, rope)
            torch.testing.assert_close(
                stream.predict(part, torch.full((len(part),), 250.0), text)[0],
                wanted,
                rtol=1e-4,
                atol=1e-5,
                check_dtype=False,
            )
            generator.write_history(part, torch.zeros(1), text, cache, rope)
        stream.commit(part, text)


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
