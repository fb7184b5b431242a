"""run=check of what people really have: renamed, damaged, half, beside other files, at odd paths."""

import json
import shlex
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.app.check import places_of
from pp1_orchestrator.loading.scan_weights import scan
from pp1_orchestrator.models.wan.load_generator import whole_shapes
from tests.app.sparse_files import SMALL, lines, refusal, sparse_pickle, sparse_safetensors
from tests.planning.factories import settings


def test_a_renamed_file_is_what_was_chosen_or_one_of_several(tmp_path):
    """The same names and sizes, and a name that says nothing."""
    path = sparse_safetensors(tmp_path / "renamed.safetensors", whole_shapes(SMALL))
    told = lines(path)
    assert told[2].startswith("model: one of model=causal_forcing, ")
    assert told[3].endswith(f"run=check check.path={path} model=causal_forcing")
    assert len(told) == 4
    told = lines(path, "experiment=longlive")
    assert told[2].startswith("model: experiment=longlive; the same names")
    assert "experiment=longlive differs in: nothing" in told


def test_what_a_family_expects_of_the_context_is_told_and_compared(tmp_path):
    path = sparse_safetensors(tmp_path / "rewardforcing.safetensors", whole_shapes(SMALL))
    assert "context.rope=relative" in "\n".join(lines(path, "experiment=reward_forcing"))
    told = lines(path, "experiment=reward_forcing", "context.rope=absolute")
    assert "experiment=reward_forcing differs in: context.rope=absolute (relative)" in told


def test_files_beside_the_index_of_shards_are_seen(tmp_path):
    """Wan-AI/Wan2.1-T2V-14B: the transformer in shards, the VAE and the text encoder beside it."""
    keys = list(whole_shapes(SMALL).items())
    parts = {"model-00001-of-00002.safetensors": dict(keys[:400]), "model-00002-of-00002.safetensors": dict(keys[400:])}
    for name, shapes in parts.items():
        sparse_safetensors(tmp_path / name, shapes)
    places = {key: name for name, shapes in parts.items() for key in shapes}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    sparse_pickle(tmp_path / "Wan2.1_VAE.pth", {"": {"decoder.conv1.weight": (8, 16, 3, 3, 3)}})
    kinds = [one.kind for one in scan(tmp_path, True).files]
    assert kinds == ["generator", "vae"]
    assert lines(tmp_path)[0] == f"{tmp_path}: 2.8 GB of weights"
    assert "VAE" not in next(line for line in lines(tmp_path, "model=wan2_1_1_3b") if line.startswith("missing"))


@pytest.mark.parametrize("name", ["plain", "my models (new), 1=2", 'it\'s "quoted" $HOME', "ünï", "a+b~c"])
def test_the_command_can_be_pasted_into_a_shell(tmp_path, monkeypatch, name):
    """From any folder: a relative path is made whole."""
    (tmp_path / name).mkdir()
    sparse_safetensors(tmp_path / name / "self_forcing_dmd.safetensors", whole_shapes(SMALL))
    monkeypatch.chdir(tmp_path)
    told = lines(Path(name) / "self_forcing_dmd.safetensors", "model=wan2_1_1_3b")[-1].removeprefix("to run it: ")
    program, *options = shlex.split(told)[2:]
    assert program == "pp1_orchestrator"
    assert settings(*options).model.generator == str(tmp_path / name / "self_forcing_dmd.safetensors")


def test_a_relative_folder_is_a_model_s_root(tmp_path, monkeypatch):
    (tmp_path / "mine" / "generator").mkdir(parents=True)
    sparse_safetensors(tmp_path / "mine" / "generator" / "model.safetensors", whole_shapes(SMALL))
    monkeypatch.chdir(tmp_path)
    told = lines(Path("mine"), "model=wan2_1_1_3b")[-1]
    assert told.endswith(f"model=wan2_1_1_3b model.root={tmp_path / 'mine'}")


def test_a_file_of_nothing_that_is_known_is_one_line(tmp_path):
    path = sparse_safetensors(tmp_path / "sdxl.safetensors", {"first_stage_model.x.weight": (4, 4)})
    assert refusal(path).endswith("sdxl.safetensors: no part of a model that can be run here")


def test_a_damaged_transformer_beside_a_whole_vae_is_one_line(tmp_path):
    save_file({"decoder.conv1.weight": torch.zeros(4, 4, 1, 1, 1)}, tmp_path / "vae.safetensors")
    whole = sparse_safetensors(tmp_path / "a.safetensors", whole_shapes(SMALL))
    with whole.open("r+b") as file:
        file.truncate(whole.stat().st_size - 1)
    assert "a.safetensors is no whole safetensors file" in refusal(tmp_path)


@pytest.mark.parametrize(("shape", "offsets"), [([4, 4], [0, 2]), ([-4, -4], [0, 32]), ([4, 4], [32, 0])])
def test_a_tensor_that_is_not_what_its_header_says_is_one_line(tmp_path, shape, offsets):
    header = {"patch_embedding.weight": {"dtype": "BF16", "shape": shape, "data_offsets": offsets}}
    text = json.dumps(header).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(max(offsets[1], 0)))
    assert "no whole safetensors file" in refusal(path)


def test_files_further_down_are_named(tmp_path):
    (tmp_path / "chunkwise").mkdir()
    sparse_safetensors(tmp_path / "chunkwise" / "causal_forcing.safetensors", {"a": (1,)})
    assert refusal(tmp_path).endswith("no file of weights in it; there are chunkwise/causal_forcing.safetensors")


def test_a_lora_alone_says_whose_it_is(tmp_path):
    (tmp_path / "models").mkdir()
    halves = {"blocks.0.ffn.0.lora_A.weight": (4, 1536), "blocks.0.ffn.0.lora_B.weight": (8960, 4)}
    path = sparse_pickle(tmp_path / "models" / "lora.pt", {"generator_lora": halves})
    assert "sections generator_lora, of which generator_lora is read" in lines(path)[1]
    assert lines(path)[-1] == (
        f"a LoRA changes a transformer, such as that of experiment=longlive or experiment=memflow: model.lora={path}"
    )


def test_parts_that_are_set_by_themselves_are_looked_at(tmp_path):
    path = sparse_safetensors(tmp_path / "self_forcing_dmd.safetensors", whole_shapes(SMALL))
    made = settings("run=check", "model=wan2_1_1_3b", f"model.generator={path}", f"model.root={tmp_path / 'none'}")
    assert places_of(made) == [("model.generator", path)]
    (tmp_path / "none").mkdir()
    assert places_of(made) == [("model.generator", path), ("model.root", tmp_path / "none")]
    assert places_of(settings("run=check")) == [("model.root", settings().model.folder)]
