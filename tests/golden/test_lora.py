"""LongLive's low-rank changes in PEFT's layout, merged while the transformer is loaded."""

import pytest
import torch

from tests.golden.loading import CONTROL, LIMIT, Golden, errors, load_state, model_options, publish

FILE = Golden("lora")
BASE = {key.removeprefix("model."): value for key, value in FILE.below("weights/base/").items()}
CHANGES = FILE.below("weights/lora/")
MERGED = FILE.below("expected/merged/")
OTHER = FILE.below("expected/merged_other_alpha/")


def write_changes(folder, sections=True, changes=None):
    """As LongLive publishes them, or the bare dictionary."""
    changes = CHANGES if changes is None else changes
    path = folder / "lora.pt"
    section, critic, step = "generator_lora", "critic_lora", "step"
    assert section == FILE.config["published"]["lora"]["section"]
    assert [critic, step] == FILE.config["published"]["lora"]["other_entries"]
    others = {critic: {key: 1.5 * value for key, value in changes.items()}, step: 3000}
    torch.save({section: changes, **others} if sections else changes, path)
    return path


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    path = publish(FILE, tmp_path_factory.mktemp("lora"), FILE.below("weights/base/"))
    return ["experiment=longlive", *model_options(FILE, path)]


def difference(state, expected):
    """The largest error of a matrix."""
    return max(errors([state[key] for key in expected], list(expected.values())))


@pytest.mark.parametrize("sections", [True, False])
def test_changed_matrices_are_pefts_and_all_others_stay(options, tmp_path, sections):
    state = load_state(*options, f"model.lora={write_changes(tmp_path, sections)}")
    assert difference(state, MERGED) < LIMIT
    unchanged = BASE.keys() - MERGED.keys()
    assert state.keys() == BASE.keys()
    assert unchanged
    assert all(torch.equal(state[key], BASE[key]) for key in unchanged)


def test_alpha_counts(options, tmp_path):
    lora = FILE.config["lora"]
    path = write_changes(tmp_path)
    same = load_state(*options, f"model.lora={path}", f"model.lora_alpha={lora['alpha']}")
    assert difference(same, MERGED) < LIMIT
    other = load_state(*options, f"model.lora={path}", f"model.lora_alpha={lora['other_alpha']}")
    assert difference(other, OTHER) < LIMIT
    assert difference(same, OTHER) > CONTROL


def test_changes_that_are_left_out_show(options):
    assert difference(load_state(*options, "model.lora=null"), MERGED) > CONTROL


def test_the_other_entries_of_the_file_would_show(options, tmp_path):
    louder = {key: 1.5 * value for key, value in CHANGES.items()}
    path = write_changes(tmp_path, changes=louder)
    assert difference(load_state(*options, f"model.lora={path}"), MERGED) > CONTROL
