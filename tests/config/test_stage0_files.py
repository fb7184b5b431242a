"""What is wrong with a decoder's or text encoder's files is one line, before anything is started."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from pp1_orchestrator.app import stream
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.validate import validate
from pp1_orchestrator.errors import ConfigError
from tests.planning.factories import settings

TINY = settings().model.folder


def check_models(made: Settings) -> None:
    stream.check_models(made, validate(made), Registry(made))


@pytest.fixture
def root(tmp_path):
    """A copy of what rank 0 loads."""
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.copytree(TINY / part, tmp_path / "root" / part)
    return tmp_path / "root"


def refusal(*options: str) -> str:
    with pytest.raises(ConfigError) as refused:
        check_models(settings(*options))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_shipped_models_pass(root):
    check_models(settings())
    check_models(settings(f"model.root={root}", "context=recompute_anchor"))
    check_models(settings(f"model.root={root / 'no'}", "model.weights=random"))


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_a_part_that_is_not_there_is_named(root, part):
    shutil.rmtree(root / part)
    said = refusal(f"model.root={root}")
    assert said.startswith(f"model.root={root}: {root / part}: no such file")


@pytest.mark.parametrize("part", ["vae", "text_encoder"])
def test_a_part_of_another_model_is_named_with_its_first_differences(root, part):
    (file,) = (root / part).glob("*.safetensors")
    state = load_file(file)
    first = next(iter(state))
    save_file(state | {"what.is.this": torch.zeros(2)}, file)
    assert "unexpected: what.is.this (2,)" in refusal(f"model.root={root}")
    state[first] = torch.zeros(3)
    save_file(state, file)
    assert f"wrong shape: {first} (3,) instead of" in refusal(f"model.root={root}")


@pytest.mark.parametrize(("stage0", "file"), [("taehv", "taew2_1.pth"), ("lightvae", "lightvaew2_1.pth")])
def test_a_smaller_decoder_lies_below_the_root(root, stage0, file):
    said = refusal(f"model.root={root}", f"stage0={stage0}")
    assert f"{root / file}: no such file" in said
    torch.save({"other.weight": torch.zeros(2, 3)}, root / file)
    said = refusal(f"model.root={root}", f"stage0={stage0}")
    assert "missing: " in said
    assert "unexpected: other.weight (2, 3)" in said
