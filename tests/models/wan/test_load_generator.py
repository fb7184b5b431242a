"""The transformer from a file: taken as it is, refused when it is another one."""

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.models.wan.load_generator import load_generator, open_generator
from tests.models.config_file import read_config
from tests.models.wan.small_model import CONFIG, random_model

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


def test_wrong_keys_are_named_with_their_shapes_before_anything_is_read(tmp_path):
    state = dict(STATE)
    del state["blocks.1.ffn.0.bias"]
    state["blocks.0.img_emb.weight"] = torch.zeros(2, 5)
    state["head.head.bias"] = torch.zeros(3)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="does not hold this generator") as refusal:
        open_generator(tmp_path, CONFIG)
    message = str(refusal.value)
    assert str(tmp_path / "model.safetensors") in message
    assert "\n" not in message
    assert "missing: blocks.1.ffn.0.bias (96,)" in message
    assert "unexpected: blocks.0.img_emb.weight (2, 5)" in message
    assert "wrong shape: head.head.bias (3,) instead of (16,)" in message
    assert "patch_embedding" not in message


def test_of_many_wrong_keys_five_are_named_and_the_rest_counted(tmp_path):
    save_file({"transformer.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=rf"missing: .* \(64,.* and {len(STATE) - 5} more; unexpected") as refusal:
        open_generator(tmp_path, CONFIG)
    assert len(str(refusal.value)) < 500
    assert str(refusal.value).count("patch_embedding") == 2


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file of weights in it"):
        open_generator(tmp_path, CONFIG)


def test_a_configuration_ignores_what_it_does_not_know_and_names_what_it_lacks(tmp_path):
    sizes = msgspec.to_builtins(CONFIG) | {"qk_norm": True}
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(sizes))
    assert read_config(tmp_path) == CONFIG
    del sizes["ffn_dim"]
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(sizes))
    with pytest.raises(msgspec.ValidationError, match="ffn_dim"):
        read_config(tmp_path)
