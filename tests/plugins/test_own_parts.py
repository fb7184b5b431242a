"""The guides' parts beside the built-in ones that they copy: the same video, plans that know them, their options."""

import json

import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.load_vae import VaeSource
from pp1_orchestrator.planning.make_plan import predict
from pp1_orchestrator.planning.profile import profile_model
from pp1_orchestrator.types import TimelineEntry
from tests.planning.factories import machine
from tests.plugins import pages
from tests.system.in_process import make_settings, run_script
from tests.system.program import run_to_end

SCRIPT = [TimelineEntry(chunk=0, prompt="a red circle"), TimelineEntry(chunk=2, prompt="a blue star", cut="recache")]
COPIES = {
    "overlap": (["overlap=cool", "overlap.options.pause_s=0"], ["overlap=sync"]),
    "routing": (["routing=styled", "routing.options.words=''"], ["routing=rank0_encoder"]),
    "context": (["context=last_chunk"], ["context=recompute_latent"]),
}
WATCHED = """
import os
from my_parts.overlap import Cool
with open(os.environ["IMPORTED_BY"], "a") as file:
    file.write(f"{os.getpid()}\\n")
class Watched(Cool):
    pass
"""


def preview(folder) -> str:
    """Weights for the guide's decoder, and the choice of them."""
    save_file({"colours.weight": 0.5 * torch.eye(3, 16)}, folder / "preview.safetensors")
    return f"stage0.file={folder / 'preview.safetensors'}"


@pytest.mark.parametrize("group", COPIES)
def test_a_copy_under_another_name_makes_the_same_video(guide, group):
    own, built_in = COPIES[group]
    copied, run = run_script(*guide, *own, chunks=4, script=SCRIPT)
    original = run_script(*built_in, chunks=4, script=SCRIPT)[0]
    assert (copied.pixels_sha256, copied.latents_sha256) == (original.pixels_sha256, original.latents_sha256)
    assert getattr(copied.config, group) == getattr(run.settings, group).name != getattr(original.config, group)


def test_options_reach_the_class(guide):
    plain = run_script("routing=rank0_encoder", chunks=1, script=SCRIPT[:1])[0]
    styled = run_script(*guide, "routing=styled", chunks=1, script=SCRIPT[:1])[0]
    assert styled.latents_sha256 != plain.latents_sha256


def test_a_plan_knows_them_by_their_classes(guide):
    made, config = make_settings(*guide, "overlap=cool", "routing=styled", "context=last_chunk", "stage0=preview",
                                 "stage0.file=null", "model.weights=random", "layout=cpu")  # fmt: skip
    strategies = Registry(made).strategies
    assert strategies.context(made).rebuilds
    plan = predict(made, profile_model(made, config, strategies), machine(), strategies)
    assert plan.predicted_period_ms["cool"] == plan.predicted_period_ms["sync"]
    assert plan.predicted_period_ms["cool"] > plan.predicted_period_ms["stage0_owned"]
    assert plan.wire_bytes["styled"] == plan.wire_bytes["rank0_encoder"]


def test_a_plan_leaves_out_what_is_not_chosen(guide):
    made, _ = make_settings(*guide)
    assert "cool" not in Registry(made).strategies.overlaps


def test_a_decoder_decodes_a_stream_in_parts_as_in_one_piece(guide, tmp_path):
    made, _ = make_settings(*guide, "stage0=preview", preview(tmp_path))
    source = VaeSource(tmp_path / "preview.safetensors", made.stage0.widths)
    decoder = Registry(made).decoder.load(source, torch.device("cpu"), torch.float32, with_encoder=False).decoder
    latents, state = torch.randn(5, 16, 2, 3), DecodeState()
    parts = torch.cat([decoder.decode(part, state) for part in latents.split([1, 2, 2])])
    assert parts.shape == (17, 3, 16, 24)
    assert torch.equal(parts, decoder.decode(latents, DecodeState()))


@pytest.mark.parametrize("weights", ["checkpoint", "random"])
def test_a_decoder_makes_a_stream(guide, tmp_path, weights):
    summary, _ = run_script(*guide, "stage0=preview", preview(tmp_path), f"model.weights={weights}", chunks=2)
    assert summary.frames == 9 + 12
    assert summary.memory["0"]["vae"] == 3 * 16 * 4


def test_a_decoder_without_an_encoder_is_refused_where_an_anchor_is_needed(guide, tmp_path):
    made, config = make_settings(*guide, "stage0=preview", preview(tmp_path), "context=recompute_anchor")
    with pytest.raises(ConfigError, match=r"^stage0=preview: the preview has no encoder, which context=recompute"):
        profile_model(made, config, Registry(made).strategies)


def test_a_layout_of_ones_own_needs_no_leave(guide):
    made, _ = make_settings(guide[0], "layout=one_rank")
    assert made.plugins.allow == ()
    assert Registry(made).layout.kind.__name__ == "SpawnedLayout"


@pytest.mark.slow
def test_a_program_with_all_of_them(guide, tmp_path, monkeypatch):
    """From the command line, with a mesh of its own processes. No rank of the mesh imports a plug-in."""
    (tmp_path / "my_parts" / "watched.py").write_text(WATCHED)
    monkeypatch.setenv("PYTHONPATH", f"{pages.ROOT}:{tmp_path}")
    monkeypatch.setenv("IMPORTED_BY", str(tmp_path / "imported_by"))
    chosen = ["overlap=cool", "overlap.name=watched", "overlap.class=my_parts.watched:Watched", "routing=styled"]
    chosen += ["context=last_chunk", "stage0=preview", preview(tmp_path), "layout=one_rank"]
    small = ["stream.height=64", "stream.width=64", "run=bench", "run.chunks=3", "run.warmup_chunks=1"]
    done = run_to_end(*guide, *chosen, *small, out=tmp_path / "out", cold=True)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    names = {"routing": "styled", "overlap": "watched", "context": "last_chunk", "layout": "one_rank"}
    assert summary["config"].items() >= names.items()
    assert summary["chunks"] == 3
    assert set(summary["memory"]) == {"0", "1"}
    assert "watched" in json.loads((tmp_path / "out" / "plan.json").read_text())["predicted_period_ms"]
    assert len((tmp_path / "imported_by").read_text().splitlines()) == 1
