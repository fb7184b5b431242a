"""The guides tell the truth: every command runs as it stands, and what they call public is there."""

import json
import os
import re
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from pp1_orchestrator import plugin_api
from tests.planning.factories import settings
from tests.plugins import pages
from tests.system.program import run_to_end

COMMAND_S = 480
THEIRS = (("blocks.", "layers."), (".self_attn.", ".attn."), (".cross_attn.", ".text_attn."))


def theirs(folder) -> None:
    """The shipped generator under names that nobody knows: what the guide's reader brings."""
    state = load_file(settings().model.folder / "generator" / "model.safetensors")
    for ours, other in THEIRS:
        state = {name.replace(ours, other): tensor for name, tensor in state.items()}
    (folder / "theirs").mkdir()
    save_file(state, folder / "theirs" / "model.safetensors")


def digests(summary) -> tuple[str, str]:
    found = json.loads(summary.read_text())
    return found["pixels_sha256"], found["latents_sha256"]


def follow(guide, folder) -> None:
    """Do what a reader of this guide does, in an empty folder."""
    pages.write(pages.files(guide), folder)
    environment = {**os.environ, "PYTHONPATH": str(pages.ROOT)}
    for program, *words in pages.commands(guide):
        assert program == "python"
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=COMMAND_S)
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.slow
@pytest.mark.timeout(10 * COMMAND_S)
@pytest.mark.parametrize("guide", pages.GUIDES, ids=lambda guide: guide.stem)
def test_every_command_runs(guide, tmp_path):
    theirs(tmp_path)
    follow(guide, tmp_path)
    made = {path.parent.name: digests(path) for path in tmp_path.glob("out/*/summary.json")}
    if guide.stem == "add_a_strategy":
        assert made["cool"] == made["sync"]
        report = (tmp_path / "out" / "sweep" / "report.md").read_text()
        assert "overlap=cool" in report
        assert "All jobs that were measured made the same video, pixel by pixel." in report
    if guide.stem == "add_a_model":
        plain = run_to_end("run=bench", "run.chunks=4", out=tmp_path / "plain")
        assert plain.returncode == 0
        assert made["mine"] == digests(tmp_path / "plain" / "summary.json"), "the shipped weights under other names"


def test_the_guides_have_files_and_commands():
    assert len(pages.files(*pages.GUIDES)) >= 15
    assert all(pages.commands(guide) for guide in pages.GUIDES)


def test_plug_ins_of_the_guides_import_public_names_alone():
    source = "\n".join(text for name, text in pages.files(*pages.GUIDES).items() if name.endswith(".py"))
    assert set(re.findall(r"pp1_orchestrator[\w.]*", source)) == {"pp1_orchestrator.plugin_api"}


def test_public_names_are_there_and_stay():
    """A name that goes breaks plug-ins: it may be added to this list, not taken from it."""
    stay = """
        CONDITIONING CachedEncoder ChunkPipeline ConfigError ContextPolicy DecodeState DecoderThread EncodeState
        FrameEncoder InFlightChunk InlineLayout LatentHistory Layout LinkThread Mesh Overlap OverlapParts Payload
        RandomWeights ReceivedChunk RecipeMixer Result Routing SpawnedLayout StreamingDecoder StreamingEncoder
        TaehvLoader TextRecipe VaeLoader VaeParts VaeSource WanVaeLoader check_shapes exchange open_weights receive send
    """
    assert set(stay.split()) <= set(plugin_api.__all__)
    assert all(hasattr(plugin_api, name) for name in plugin_api.__all__)
