"""LongLive: a sink of 3 frames, and history that is read again when the prompt changes."""

import pytest
import torch

from tests.golden.loading import CONTROL, LIMIT, Golden, Model, errors, model_options, publish

FILE = Golden("longlive")
OLD, NEW = FILE["inputs/text"], FILE["inputs/text_after"]
RECACHED = FILE.config["switch"]["recached_frames"]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    path = publish(FILE, tmp_path_factory.mktemp("longlive"))
    return ["experiment=longlive", "model.lora=null", *model_options(FILE, path)]


@pytest.fixture(scope="module")
def model(options):
    return Model(*options)


def sample(model, chunks):
    """Make these chunks, in the course of a stream."""
    made = []
    for index in chunks:
        made.append(model.denoise(FILE["inputs/noise"][index], FILE["inputs/renoise"][index]))
        model.write_context(made[-1])
    return made


def switched(model, at, until, read_again):
    """The chunks after a switch. read_again: what is done between the last chunk under the old text and the next."""
    model.restart(OLD)
    made = sample(model, range(at))
    read_again(model, made)
    return sample(model, range(at, until))


def recache(model, made):
    """As a prompt with cut=recache."""
    model.set_text(NEW)
    model.recache(made)


def test_every_chunk_is_upstreams(model):
    model.restart(OLD)
    assert max(errors(sample(model, range(10)), FILE["expected/latents"])) < LIMIT


@pytest.mark.parametrize(
    ("change", "right"), [("model.window.sink=0", 4), ("model.window.frames=15", 4), ("model.warp=false", 0)]
)
def test_another_setting_shows_from_the_chunk_on_that_it_changes(options, change, right):
    other = Model(*options, change)
    other.restart(OLD)
    found = errors(sample(other, range(10)), FILE["expected/latents"])
    assert max(found[:right], default=0) < LIMIT
    assert min(found[right:]) > CONTROL


MASKS = {"as_published": "bidirectional", "block_causal": "causal"}


@pytest.mark.parametrize("at", [2, 6])
@pytest.mark.parametrize("variant", MASKS)
def test_a_recache_is_upstreams(options, at, variant):
    model = Model(*options, f"context.recache_mask={MASKS[variant]}")
    made = switched(model, at, 10, recache)
    assert max(errors(made, FILE[f"expected/switch_{at}/{variant}"])) < LIMIT
    other = next(name for name in MASKS if name != variant)
    assert errors(made, FILE[f"expected/switch_{at}/{other}"])[0] > CONTROL


def test_the_experiment_reads_again_as_published(model):
    made = switched(model, 6, 10, recache)
    assert max(errors(made, FILE["expected/switch_6/as_published"])) < LIMIT


@pytest.mark.parametrize("at", [2, 6])
@pytest.mark.parametrize(
    ("variant", "bidirectional"), [("no_global_sink", True), ("no_global_sink_block_causal", False)]
)
def test_a_recache_of_everything_is_upstreams_without_a_global_sink(model, at, variant, bidirectional):
    def recache_everything(model, made):
        """All the frames that upstream reads, the oldest of which become the sink."""
        model.set_text(NEW)
        model.rebuild(torch.cat(made, dim=1)[:, -RECACHED:], bidirectional=bidirectional)

    made = switched(model, at, at + 2, recache_everything)
    assert max(errors(made, FILE[f"expected/switch_{at}/{variant}"])) < LIMIT


def no_switch(model, made):
    """Go on under the old text."""


def soft_cut(model, made):
    model.set_text(NEW)


def recache_under_the_old_text(model, made):
    model.recache(made)
    model.set_text(NEW)


@pytest.mark.parametrize("other", [no_switch, soft_cut, recache_under_the_old_text])
def test_another_way_to_switch_shows(model, other):
    made = switched(model, 2, 4, other)
    for variant in ("as_published", "block_causal"):
        assert min(errors(made, FILE[f"expected/switch_2/{variant}"][: len(made)])) > CONTROL
