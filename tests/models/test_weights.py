"""Weights of the generator: what a checkpoint must hold, and random ones."""

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.models.wan.config import read_config
from pp1_orchestrator.models.wan.weights import load_generator
from tests.models.small import CONFIG, random_model

CPU = torch.device("cpu")
STATE = random_model().state_dict()


def load(folder, state, dtype=torch.float32):
    save_file(state, folder / "model.safetensors")
    return load_generator(folder, CONFIG, CPU, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_is_loaded_as_it_is(tmp_path, dtype):
    model = load(tmp_path, STATE, dtype)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    loaded = model.state_dict()
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], tensor.to(dtype)) for name, tensor in STATE.items())


def test_wrong_keys_are_named_with_their_shapes(tmp_path):
    state = dict(STATE)
    del state["blocks.1.ffn.0.bias"]
    state["blocks.0.img_emb.weight"] = torch.zeros(2, 5)
    state["head.head.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match="does not hold this generator") as refusal:
        load(tmp_path, state)
    message = str(refusal.value)
    assert str(tmp_path) in message
    assert "\n" not in message
    assert "missing: blocks.1.ffn.0.bias (96,)" in message
    assert "unexpected: blocks.0.img_emb.weight (2, 5)" in message
    assert "wrong shape: head.head.bias (3,) instead of (16,)" in message
    assert "patch_embedding" not in message


def test_a_checkpoint_of_another_size_is_told_briefly(tmp_path):
    with pytest.raises(ValueError, match=r"missing: .* \(64,") as refusal:
        load(tmp_path, {"transformer.weight": torch.zeros(1)})
    assert len(str(refusal.value)) < 500


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load_generator(tmp_path, CONFIG, CPU, torch.float32)


def test_random_weights_depend_on_the_seed_alone(tmp_path):
    def draw(seed):
        return load_generator(tmp_path, CONFIG, CPU, torch.float32, random=True, seed=seed).state_dict()

    first = draw(3)
    torch.rand(5)
    again, other = draw(3), draw(4)
    assert all(torch.equal(first[name], again[name]) for name in STATE)
    assert not torch.equal(first["blocks.0.self_attn.q.weight"], other["blocks.0.self_attn.q.weight"])
    assert {name: t.shape for name, t in first.items()} == {name: t.shape for name, t in STATE.items()}


def test_a_configuration_ignores_what_it_does_not_know_and_names_what_it_lacks(tmp_path):
    sizes = msgspec.to_builtins(CONFIG) | {"qk_norm": True}
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(sizes))
    assert read_config(tmp_path) == CONFIG
    del sizes["ffn_dim"]
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(sizes))
    with pytest.raises(msgspec.ValidationError, match="ffn_dim"):
        read_config(tmp_path)
