"""What a plan says of memory is what loaded modules hold; nothing of it needs a weight or much memory."""

import msgspec
import pytest
import torch

from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from pp1_orchestrator.models.vae.base import DecodeState, EncodeState
from pp1_orchestrator.models.vae.load_vae import VaeSource, load_vae, make_decoder
from pp1_orchestrator.models.vae.wan_encoder import WanEncoder, WanFrameEncoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.load_generator import load_generator
from pp1_orchestrator.models.wan.tensor_parallel import ShardPlan, parallelize
from pp1_orchestrator.planning.op_counter import CountingShard
from pp1_orchestrator.planning.profile import profile_model
from pp1_orchestrator.planning.profile_store import ProfileStore
from tests.planning.factories import settings, shipped, with_name

CPU = torch.device("cpu")
KREA = WanConfig(dim=5120, ffn_dim=13824, num_heads=40, num_layers=40, local_attn_size=6)
"""Sizes of a 14B model."""


@pytest.fixture(scope="module")
def loaded_vae():
    return load_vae(VaeSource(settings().model.folder / "vae"), CPU, torch.float32)


@pytest.mark.parametrize("layout", ["cpu", "inline"])
def test_a_mesh_rank_holds_what_was_planned(layout):
    made = settings(f"layout={layout}")
    config, degree = shipped(made), made.layout.mesh_ranks
    model = load_generator(made.model.folder / "generator", config, CPU, torch.float32)
    parallelize(model, CountingShard(degree), ShardPlan(made.layout.shard.qk, made.layout.shard.cross_attention))
    components = profile_model(made, config, STRATEGIES).components
    assert components["generator"] == sum(p.nbytes for p in model.parameters())
    keys = config.num_layers * config.local_attn_size * 8 * 8 * (config.dim // degree)
    assert components["kv_cache"] == 2 * keys * 4
    assert components["text_cache"] == model.text_bytes()
    text = model.embed_text(torch.zeros(1, config.text_len, config.text_dim))
    assert model.text_bytes() == sum(t.nbytes for pair in text for t in pair)


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_sequence_parallel_rank_holds_all_weights_and_the_cache_of_its_heads(ranks):
    made = settings("parallel=sequence", f"layout.mesh_ranks={ranks}")
    alone, tensor = settings("layout=inline"), settings(f"layout.mesh_ranks={ranks}")
    store = ProfileStore(None)
    one, split, own = (store.profile(other, shipped(other), STRATEGIES) for other in (alone, tensor, made))
    assert own.components["generator"] == one.components["generator"] > split.components["generator"]
    assert own.components["kv_cache"] == split.components["kv_cache"] == one.components["kv_cache"] // ranks
    assert own.components["text_cache"] == one.components["text_cache"]
    assert own.activation_peak["generator"] < one.activation_peak["generator"]


def test_rank_0_holds_what_was_planned(loaded_vae):
    made = settings()
    config, folder = shipped(made), made.model.folder
    components = profile_model(made, config, STRATEGIES).components
    decoder, state = make_decoder(loaded_vae), DecodeState()
    decoder.decode(torch.zeros(3, 16, 16, 16), state)
    assert components["vae"] == decoder.weight_bytes
    assert components["decode_cache"] == state.nbytes
    text = load_text_encoder(
        TextSource(folder / "text_encoder", folder / "tokenizer"), config.text_len, CPU, torch.float32
    )
    assert components["text_encoder"] == text.weight_bytes


def test_the_anchor_needs_an_encoder_that_other_contexts_do_not(loaded_vae):
    made = settings()
    anchored = profile_model(
        with_name(made, "context", "recompute_anchor"),
        shipped(made),
        STRATEGIES,
    )
    assert anchored.components["vae_encoder"] == WanFrameEncoder(loaded_vae).weight_bytes
    assert anchored.work["encode"].flops > 0
    plain = profile_model(made, shipped(made), STRATEGIES)
    assert "vae_encoder" not in plain.components
    assert "encode" not in plain.work


def test_an_input_needs_an_encoder_of_streams(loaded_vae):
    made = settings("source=file", "source.path=input.mp4")
    with_input, plain = (profile_model(each, shipped(made), STRATEGIES) for each in (made, settings()))
    encoder, state = WanEncoder(loaded_vae), EncodeState()
    for frames in (9, 12, 12):
        encoder.encode(torch.zeros(frames, 3, 128, 128), state)
    assert with_input.components["input_encoder"] == encoder.weight_bytes
    assert with_input.components["encode_cache"] == state.nbytes
    assert with_input.activation_peak["decode"] > plain.activation_peak["decode"]
    assert "input_encoder" not in plain.components


@pytest.mark.parametrize("layout", ["cpu", "inline"])
def test_a_sink_that_moves_is_held_twice(layout):
    """Its keys as they were written, and rotated; its values once."""
    options = [f"layout={layout}", "model.window.sink=3"]
    still, moving = (settings(*options, f"context.rope={rope}") for rope in ("absolute", "relative"))
    config = msgspec.structs.replace(shipped(still), sink_frames=3)
    more = config.num_layers * 3 * 8 * 8 * (config.dim // still.layout.mesh_ranks) * 4
    store = ProfileStore(None)
    for count in (profile_model, store.profile):
        held = [count(made, config, STRATEGIES).components["kv_cache"] for made in (still, moving)]
        assert held[1] - held[0] == more


@pytest.mark.slow
def test_a_14b_model_is_planned_without_its_memory():
    made = settings("model.dtype=bfloat16", "stream.height=320", "stream.width=576")
    found = profile_model(made, KREA, STRATEGIES)
    tokens, width = 6 * 20 * 36, KREA.dim // 2
    assert found.components["kv_cache"] == 2 * KREA.num_layers * tokens * width * 2
    assert 19e9 < found.components["generator"] < 22e9, "q and k are whole on both ranks"
    assert found.needs.latents == (1, 3, 16, 40, 72)
