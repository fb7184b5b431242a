"""What `--help` says: every group, option and key has its words, and the values are those that were composed."""

import re

import pytest
from hydra import compose, initialize_config_dir

from pp1_orchestrator.config.conf_files import CONF, defaults
from pp1_orchestrator.config.help_text import help_text, meanings
from pp1_orchestrator.config.suggest import all_keys

MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def composed(*overrides: str):
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        return compose("config", list(overrides))


def test_every_key_has_a_meaning():
    told = dict(meanings(composed()))
    keys = all_keys()
    leaves = {key for key in keys if not any(other.startswith(f"{key}.") for other in keys)}
    assert set(told) == {key for key in leaves if key.count(".") != 1 or not key.endswith(".name")}
    assert [key for key, meaning in told.items() if not meaning] == []


def test_every_option_of_every_group_is_there_with_a_line():
    text = help_text(composed())
    for group, entry in defaults().items():
        assert f"\n{group}: {entry.comment}\n" in text
        for path in (CONF / group).glob("*.yaml"):
            assert re.search(rf"^  [ *] {group}={path.stem} +\S", text, re.M), path


@pytest.mark.parametrize("model", MODELS)
def test_values_and_chosen_options_are_those_of_the_command_line(model):
    made = composed(f"model={model}", "seed=7", "serving.token=null")
    text = help_text(made)
    assert f"\n  * model={model} " in text
    assert text.count("\n  * ") == len(defaults()) - 1  # no experiment is chosen
    assert f"\n  model.sizes.dim={made.model.sizes.dim} " in text
    assert "\n  seed=7 " in text
    assert "\n  serving.token=null " in text


def test_a_dollar_is_kept_from_the_template():
    assert "run.prompt=5 $$ " in help_text(composed("run.prompt='5 $'"))
