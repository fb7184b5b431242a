"""UMT5 in its two layouts, at their full key sets: embeddings are transformers', in 8 bits nearly."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers.models.umt5 import UMT5Config, UMT5EncoderModel

from pp1_orchestrator.models.text.int8 import Int8Linear, largest_error
from pp1_orchestrator.models.text.load_text_encoder import TextSource, UMT5Sizes, load_text_encoder, make_umt5

CPU = torch.device("cpu")
SIZES = UMT5Sizes(
    vocab_size=300,
    d_model=32,
    d_ff=48,
    num_heads=4,
    d_kv=8,
    num_layers=24,
    relative_attention_num_buckets=32,
    relative_attention_max_distance=128,
)
# In Wan's names, what each tensor of a block is; transformers' come by the other side.
BLOCK = {
    "layer.0.layer_norm": "norm1",
    "layer.0.SelfAttention.q": "attn.q",
    "layer.0.SelfAttention.k": "attn.k",
    "layer.0.SelfAttention.v": "attn.v",
    "layer.0.SelfAttention.o": "attn.o",
    "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
    "layer.1.layer_norm": "norm2",
    "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
    "layer.1.DenseReluDense.wi_1": "ffn.fc1",
    "layer.1.DenseReluDense.wo": "ffn.fc2",
}
PROMPTS = ["a red circle", "ünïcode 漢字", ""]
LENGTH = 24


@pytest.fixture(scope="module")
def umt5() -> Any:
    torch.manual_seed(0)
    model = UMT5EncoderModel(UMT5Config(**SIZES, feed_forward_proj="gated-gelu")).eval().requires_grad_(False)
    for name, tensor in model.named_parameters():
        if "layer_norm" in name or "relative" in name:  # ones, and alike, would hide a mistake
            tensor.add_(0.5 * torch.randn_like(tensor))
    return model


def wan(umt5: Any) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in umt5.state_dict().items():
        if name.startswith("encoder.block."):
            _, _, index, rest = name.split(".", 3)
            renamed[f"blocks.{index}.{BLOCK[rest.removesuffix('.weight')]}.weight"] = tensor
    ends = {"token_embedding.weight": umt5.shared.weight, "norm.weight": umt5.encoder.final_layer_norm.weight}
    return ends | renamed


@pytest.fixture(scope="module")
def files(umt5, tmp_path_factory):
    """Where each layout lies."""
    root = tmp_path_factory.mktemp("umt5")
    torch.save(wan(umt5), root / "models_t5_umt5-xxl-enc-bf16.pth")
    save_file({key: tensor.contiguous() for key, tensor in wan(umt5).items()}, root / "wan.safetensors")
    umt5.save_pretrained(root / "sharded", max_shard_size="200KB")
    assert len(list((root / "sharded").glob("*.safetensors"))) > 2
    save_whole(umt5, root / "whole")
    return {"pth": root / "models_t5_umt5-xxl-enc-bf16.pth", "wan": root / "wan.safetensors",
            "sharded": root / "sharded", "whole": root / "whole"}  # fmt: skip


def save_whole(umt5: Any, folder) -> None:
    """A UMT5 with the decoder and head that nobody needs here, and the embedding under both names."""
    folder.mkdir()
    more = {"decoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(4), "lm_head.weight": torch.zeros(4)}
    state = {key: tensor.clone().contiguous() for key, tensor in umt5.state_dict().items()}
    assert {"shared.weight", "encoder.embed_tokens.weight"} <= state.keys()
    save_file(state | more, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(umt5.config.to_dict(), default=str))


def source(files, layout: str, **changes) -> TextSource:
    return TextSource(files[layout], files[layout] / "none", SIZES, **changes)


LAYOUTS = ("pth", "wan", "sharded", "whole")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_finds_its_place_and_embeddings_are_transformers(layout, files, umt5):
    assert len(wan(umt5)) == 242
    model: Any = make_umt5(source(files, layout), CPU, torch.float32)
    for name, tensor in umt5.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    assert model.shared.weight is model.encoder.embed_tokens.weight
    ids = torch.randint(2, SIZES["vocab_size"], (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).last_hidden_state, umt5(input_ids=ids).last_hidden_state)


def test_a_file_in_eight_bit_floats_is_widened(files, umt5, tmp_path):
    narrow = {key: tensor.to(torch.float8_e4m3fn).contiguous() for key, tensor in wan(umt5).items()}
    save_file(narrow, tmp_path / "umt5-xxl-enc-fp8_e4m3fn.safetensors")
    model: Any = make_umt5(TextSource(tmp_path, tmp_path, SIZES), CPU, torch.bfloat16)
    stored = narrow["blocks.2.ffn.fc1.weight"].to(torch.bfloat16)
    assert torch.equal(model.encoder.block[2].layer[1].DenseReluDense.wi_1.weight, stored)


def test_the_gate_is_what_the_activation_gets(files, umt5, tmp_path):
    """Exchanged, both have the right shapes, and embeddings are others."""
    swapped = {
        key.replace("gate.0", "?").replace("fc1", "gate.0").replace("?", "fc1"): t for key, t in wan(umt5).items()
    }
    torch.save(swapped, tmp_path / "swapped.pth")
    right = make_umt5(source(files, "pth"), CPU, torch.float32)
    wrong = make_umt5(TextSource(tmp_path / "swapped.pth", tmp_path, SIZES), CPU, torch.float32)
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        assert not torch.allclose(right(input_ids=ids).last_hidden_state, wrong(input_ids=ids).last_hidden_state)


def test_another_model_is_told_in_one_line(files, tmp_path, umt5):
    state = {key.replace("blocks.3.", "blocks.33."): tensor for key, tensor in wan(umt5).items()}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"does not hold this text encoder: missing: encoder\.block\.3\.") as caught:
        make_umt5(TextSource(tmp_path / "other.pth", tmp_path, SIZES), CPU, torch.float32)
    assert "and 5 more; unexpected: encoder.block.33." in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_eight_bits_stay_near_at_half_the_memory(files, umt5, dtype):
    wide: Any = make_umt5(source(files, "pth"), CPU, dtype)
    narrow: Any = make_umt5(source(files, "pth", int8=True), CPU, dtype)
    assert sum(isinstance(layer, Int8Linear) for layer in narrow.modules()) == 7 * SIZES["num_layers"]
    assert 0 < largest_error(narrow) < 0.01
    ids = torch.randint(2, SIZES["vocab_size"], (1, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = umt5(input_ids=ids).last_hidden_state
        near, own = (model(input_ids=ids).last_hidden_state.float() for model in (narrow, wide))
    assert float((near - exact).norm() / exact.norm()) < 0.05
    assert float((near - exact).norm()) >= float((own - exact).norm())
    linear = sum(p.nbytes for name, p in wide.named_parameters() if ".q." in name)
    assert sum(p.nbytes for name, p in narrow.named_parameters() if ".q.weight" in name) == linear // dtype.itemsize


def test_deep_random_weights_keep_rounding_small(tmp_path):
    """A stream of random weights must say something about another type or kernel, not amplify its last bits."""
    exact, rounded = (
        load_text_encoder(TextSource(tmp_path, tmp_path / "none", SIZES, 1), LENGTH, CPU, dtype).encode(PROMPTS).float()
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert float((rounded - exact).norm() / exact.norm()) < 0.1


def test_a_plan_knows_the_bytes_without_any(files):
    for int8 in (False, True):
        planned = make_umt5(source(files, "pth", seed=0, int8=int8), torch.device("meta"), torch.bfloat16)
        loaded = make_umt5(source(files, "pth", int8=int8), CPU, torch.bfloat16)
        assert sum(p.nbytes for p in planned.parameters()) == sum(p.nbytes for p in loaded.parameters())


@pytest.mark.parametrize("int8", [False, True])
def test_without_any_file_random_weights_read_bytes(tmp_path, int8):
    made = [
        load_text_encoder(
            TextSource(tmp_path / "none", tmp_path / "no tokenizer", SIZES, seed, int8), LENGTH, CPU, torch.float32
        )
        for seed in (1, 1, 2)
    ]
    first, again, other = (encoder.encode(PROMPTS) for encoder in made)
    assert first.shape == (3, LENGTH, SIZES["d_model"])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    for embeds, prompt in zip(first, PROMPTS, strict=True):
        end = len(prompt.encode()) + 1
        assert (embeds[:end].abs().amax(-1) > 0).all()
        assert not embeds[end:].any()


def test_a_checkpoint_needs_its_tokenizer(files):
    with pytest.raises(OSError, match="none"):
        load_text_encoder(source(files, "pth"), LENGTH, CPU, torch.float32)


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_weights_in_8_bits_are_widened_and_scaled(umt5, tmp_path, scaled):
    """As `umt5-xxl-enc-fp8_e4m3fn.safetensors` has them, under Wan's names, and as files with a scale a matrix do."""
    stored, wanted = {}, {}
    for key, tensor in wan(umt5).items():
        matrix = tensor.dim() == 2 and "embedding" not in key
        scale = tensor.abs().max() / 448 if matrix and scaled else torch.ones(())
        stored[key] = (tensor / scale).to(torch.float8_e4m3fn) if matrix else tensor.contiguous()
        wanted[key] = stored[key].float() * scale
        if matrix and scaled:
            stored[f"{key.removesuffix('weight')}scale_weight"] = scale
    if scaled:
        stored["scaled_fp8"] = torch.zeros(0)
    save_file(stored, tmp_path / "fp8.safetensors")
    save_file(wanted, tmp_path / "wide.safetensors")
    found, same = (
        make_umt5(TextSource(tmp_path / name, tmp_path, SIZES), CPU, torch.float32).state_dict()
        for name in ("fp8.safetensors", "wide.safetensors")
    )
    assert found.keys() == same.keys()
    assert all(torch.equal(found[key], same[key]) for key in found)
    rounded = "encoder.block.0.layer.0.SelfAttention.q.weight"
    assert not torch.equal(found[rounded], umt5.state_dict()[rounded])
