"""run=check: what a file is, what it expects and how to run it, in seconds and without reading a tensor."""

import resource

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.app.check import with_found
from pp1_orchestrator.app.check_make import contact_sheet, correlation, judge, make_and_judge
from pp1_orchestrator.app.check_report import command, differences, matching
from pp1_orchestrator.app.strategy_registry import check
from pp1_orchestrator.config.families import read_families
from pp1_orchestrator.loading.scan_weights import scan
from pp1_orchestrator.models.wan.load_generator import whole_shapes
from tests.app.sparse_files import LARGE, SMALL, lines, refusal, said, sparse_pickle, sparse_safetensors
from tests.planning.factories import settings
from tests.timing import stopwatch

MIB = 1 << 20


@pytest.fixture(scope="module")
def krea(tmp_path_factory):
    """Krea Realtime's file, as large as the real one."""
    folder = tmp_path_factory.mktemp("downloads")
    shapes = {f"model.{key}": shape for key, shape in whole_shapes(LARGE).items()}
    return sparse_safetensors(folder / "krea-realtime-video-14b.safetensors", shapes)


def test_a_file_of_28_gigabytes_is_known_in_seconds_and_not_read(krea):
    assert krea.stat().st_size > 28e9
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with stopwatch() as watch:
        told = lines(krea, "model=krea_14b")
    assert watch.within(5)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 256 * MIB
    assert told[1].startswith(
        "  krea-realtime-video-14b.safetensors: generator, 14,288.5 million numbers in 1095 tensors"
    )
    assert "40 blocks, 5120 wide; Wan2.1's names, with the prefix model." in told[1]
    assert told[2].startswith("model: model=krea_14b")
    assert told[-2] == "model=krea_14b differs in: nothing"
    assert told[-1] == f"to run it: python -m pp1_orchestrator model=krea_14b model.generator={krea}"


def test_a_pickle_names_its_sections_and_the_one_that_is_read(tmp_path):
    shapes = {f"model._fsdp_wrapped_module.{key}": shape for key, shape in list(whole_shapes(SMALL).items())}
    path = sparse_pickle(tmp_path / "self_forcing_dmd.pt", {"generator": shapes, "generator_ema": shapes})
    told = lines(path, "model=wan2_1_1_3b")
    assert "sections generator, generator_ema, of which generator_ema is read" in told[1]
    assert told[2].startswith("model: model=wan2_1_1_3b")
    assert "licence: Apache-2.0" in told
    assert "of which generator is read" in lines(path, "model=wan2_1_1_3b", "model.ema=false")[1]


def test_the_file_s_name_decides_between_models_of_the_same_names_and_sizes(tmp_path):
    shapes = {f"model.{key}": shape for key, shape in whole_shapes(SMALL).items()}
    (tmp_path / "models").mkdir()
    path = sparse_pickle(tmp_path / "models" / "longlive_base.pt", {"generator": shapes})
    made = settings("run=check", "model=wan2_1_1_3b")
    found = scan(path, True)
    family, *others = matching(found.files[0], "wan2_1_1_3b")
    assert family.option == "experiment=longlive"
    assert "model=wan2_1_1_3b" in [other.option for other in others]
    assert any(line.startswith("model.window={chunk: 3, frames: 21") for line in differences(made, family))
    assert "model.ema=true (false)" in differences(made, family)
    assert "LoRA (Efficient-Large-Model/LongLive-1.3B/models/lora.pt)" in "\n".join(lines(path))
    assert command(family, path, found).endswith(f"experiment=longlive model.generator={path}")


def test_a_wrong_pair_is_one_line(krea):
    told = refusal(krea, "model=wan2_1_1_3b")
    assert told.startswith(f"model=wan2_1_1_3b: {krea} has 40 blocks, 5120 wide; possible: model=krea_14b")


def test_the_default_model_says_nothing_of_what_is_meant(krea, capsys):
    said(krea)
    assert "model: model=krea_14b" in capsys.readouterr().out


def test_what_is_missing_or_too_much_is_one_line(tmp_path):
    shapes = dict(whole_shapes(SMALL))
    del shapes["head.head.weight"], shapes["blocks.7.ffn.0.bias"]
    assert "head" in refusal(sparse_safetensors(tmp_path / "one.safetensors", shapes))
    shapes = whole_shapes(SMALL) | {"extra.weight": (2, 3)}
    assert refusal(sparse_safetensors(tmp_path / "two.safetensors", shapes)).endswith("unexpected: extra.weight")


@pytest.mark.parametrize("key", ["img_emb.proj.0.weight", "blocks.0.cross_attn.k_img.weight", "vace_blocks.0.x.weight"])
def test_a_transformer_of_another_kind_is_one_line(tmp_path, key):
    path = sparse_safetensors(tmp_path / "i2v.safetensors", whole_shapes(SMALL) | {key: (4, 4)})
    assert "none here" in refusal(path)


def test_files_that_are_none_are_one_line(tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"0123456789")
    for path in (damaged, tmp_path / "nowhere"):
        assert refusal(path).startswith(f"check.path={path}: ")
    old = tmp_path / "old.pt"
    torch.save({"a": torch.zeros(1)}, old, _use_new_zipfile_serialization=False)
    assert "torch's old format" in refusal(old)
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").endswith("no file of weights in it")


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path):
    class Harmful:
        def __reduce__(self):
            return print, ("run",)

    path = tmp_path / "harmful.pt"
    torch.save({"generator": Harmful()}, path)
    assert "holds more than tensors, and is not opened" in refusal(path)


def test_a_folder_of_parts_and_one_that_holds_another_part(tmp_path):
    root = settings().model.folder
    told = lines(root)
    assert [line.split(": ")[1].split(",")[0] for line in told[1:4]] == ["generator", "vae", "text encoder"]
    assert told[-1] == f"to run it: python -m pp1_orchestrator model=tiny model.root={root}"
    assert "missing: nothing" in told
    (tmp_path / "vae").mkdir()
    save_file({"shared.weight": torch.zeros(4, 4)}, tmp_path / "vae" / "model.safetensors")
    assert "holds a text_encoder, not a vae" in refusal(tmp_path)


def test_a_lora_of_another_size_is_one_line(tmp_path):
    for name, shapes in (("generator", whole_shapes(SMALL)), ("lora", {})):
        (tmp_path / name).mkdir()
        if shapes:
            sparse_safetensors(tmp_path / name / "model.safetensors", shapes)
    halves = {"blocks.0.ffn.0.lora_A.weight": (4, 5120), "blocks.0.ffn.0.lora_B.weight": (13824, 4)}
    sparse_safetensors(tmp_path / "lora" / "lora.safetensors", halves)
    assert "lora.safetensors does not fit" in refusal(tmp_path)


def test_chunks_are_made_of_the_files_that_were_looked_at(tmp_path, krea):
    """And not of the chosen model's own."""
    path = sparse_safetensors(tmp_path / "self_forcing_dmd.safetensors", whole_shapes(SMALL))
    made = settings("run=check", "model=wan2_1_1_3b", f"check.path={path}", "check.make=1")
    model = with_found(made, path, scan(path, True)).model
    assert (model.generator, model.root) == (str(path), made.model.root)
    (tmp_path / "all" / "generator").mkdir(parents=True)
    path.rename(tmp_path / "all" / "generator" / "model.safetensors")
    model = with_found(made, tmp_path / "all", scan(tmp_path / "all", True)).model
    assert (model.generator, model.root) == (None, str(tmp_path / "all"))
    assert refusal(krea, "check.make=1").endswith(
        "possible: model=krea_14b, experiment=krea_fast, model=streamdiffusion_v2_14b"
    )
    vae = sparse_safetensors(tmp_path / "vae.safetensors", {"decoder.conv1.weight": (8, 16, 3, 3, 3)})
    assert refusal(vae, "check.make=1").endswith("has no transformer to make chunks with")


def test_every_family_has_a_licence_and_steps_that_can_be_run():
    families = read_families()
    assert {"model=tiny", "model=krea_14b", "experiment=longlive"} <= {family.option for family in families}
    for family in families:
        assert family.model.licence
        assert family.model.steps


@pytest.mark.slow
def test_chunks_of_two_prompts_are_made_and_judged(tmp_path):
    made = settings("run=check", "layout=inline", "check.make=2", "stream.height=64", "stream.width=64")
    told = make_and_judge(made, check(made, {"check"})[1], tmp_path)
    assert [line.split(": ")[0] for line in told[:4]] == ["yes"] * 4
    assert (tmp_path / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def pictures(seed, count=4):
    """A slope that moves, of another colour for each seed."""
    slope = np.linspace(0, 200, 32)
    return [
        np.stack([np.roll(np.tile(slope, (32, 1)), 2 * i + 9 * seed, 1)] * 3, -1).astype(np.uint8) for i in range(count)
    ]


def test_each_verdict_can_fail():
    good, other = [pictures(0)], [pictures(1)]
    assert all(holds for holds, _ in judge(good, other).values())
    still = [[pictures(0)[0]] * 4]
    assert not judge(still, other)["moves"][0]
    assert not judge(good, good)["follows a second prompt"][0]
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    assert correlation(noise) < 0.2
    assert not judge([[noise, pictures(0)[0], noise]], other)["not noise"][0]


def test_the_sheet_has_a_row_for_each_prompt():
    sheet = contact_sheet([[pictures(0), pictures(0)], [pictures(1), pictures(1)]])
    assert sheet.shape == (2 * 32 + 4, 2 * 32 + 4, 3)
    assert np.array_equal(sheet[-32:, :32], pictures(1)[-1])
