"""What is wrong with a generator's checkpoint is one line, before a process is started or a weight is read."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pp1_orchestrator.config.validate import generator_config
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.loading.checkpoint import check_checkpoint
from pp1_orchestrator.models.checkpoints.manifest import write_manifest
from tests.planning.factories import settings

TINY = settings().model.folder / "generator"


def check(*options: str) -> None:
    made = settings(*options)
    check_checkpoint(made, generator_config(made.model))


def refusal(*options: str) -> str:
    with pytest.raises(ConfigError) as refused:
        check(*options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def generator(tmp_path):
    """A copy of the shipped generator alone."""
    return shutil.copytree(TINY, tmp_path / "root" / "generator")


def test_the_shipped_model_and_a_part_elsewhere_pass(generator, tmp_path):
    check()
    check(f"model.root={generator.parent}")
    check(f"model.root={tmp_path / 'nowhere'}", f"model.generator={generator}")
    check(f"model.root={tmp_path / 'nowhere'}", f"model.generator={generator / 'model.safetensors'}")


@pytest.mark.parametrize("model", ["wan2_1_1_3b", "krea_14b"])
def test_random_weights_need_no_file(tmp_path, model):
    check(f"model={model}", "model.weights=random", f"model.root={tmp_path}")


@pytest.mark.parametrize("model", ["wan2_1_1_3b", "krea_14b"])
def test_weights_that_are_not_there_come_with_a_way_to_get_them(tmp_path, model):
    said = refusal(f"model={model}", f"model.root={tmp_path}")
    assert said == (f"model.root={tmp_path}: {tmp_path}/generator: no such file; docs/models.md lists the files")


def test_sizes_that_are_not_those_beside_the_weights_are_named():
    said = refusal("model=wan2_1_1_3b", f"model.root={TINY.parent}")
    assert said.startswith(f"model.sizes.dim=1536: {TINY}/config.json says 192")


def test_a_wrong_file_is_named_with_its_first_differences(generator):
    (generator / "config.json").unlink()
    state = load_file(generator / "model.safetensors")
    state["vace.weight"] = state.pop("head.head.weight")
    save_file(state, generator / "model.safetensors")
    said = refusal(f"model.root={generator.parent}")
    assert said == (
        f"model.root={generator.parent}: {generator}/model.safetensors does not hold this generator: "
        "missing: head.head.weight (64, 192); unexpected: vace.weight (64, 192)"
    )


def test_a_lora_that_does_not_fit_is_refused(generator, tmp_path):
    save_file(
        {"blocks.0.ffn.0.lora_A.weight": torch.zeros(2, 3), "blocks.0.ffn.0.lora_B.weight": torch.zeros(4, 2)},
        tmp_path / "lora.safetensors",
    )
    assert "does not fit" in refusal(f"model.root={generator.parent}", f"model.lora={tmp_path / 'lora.safetensors'}")


def test_digests_are_compared_on_request(generator):
    root = f"model.root={generator.parent}"
    (generator / "manifest.json").unlink()
    assert "no digests to compare" in refusal(root, "model.verify=true")
    write_manifest(generator, ["model.safetensors"], [], {})
    check(root, "model.verify=true")
    data = bytearray((generator / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (generator / "model.safetensors").write_bytes(bytes(data))
    check(root, "model.verify=false")
    assert "is not the file that manifest.json describes" in refusal(root, "model.verify=true")
