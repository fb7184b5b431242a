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


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder in which a reader of all guides has done everything."""
    folder = tmp_path_factory.mktemp("reader")
    pages.write(pages.files(*pages.GUIDES), folder)
    theirs(folder)
    environment = {**os.environ, "PYTHONPATH": str(pages.ROOT)}
    for guide in pages.GUIDES:
        for program, *words in pages.commands(guide):
            assert program == "python"
            command = [sys.executable, *words]
            made = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=COMMAND_S
            )
            assert made.returncode == 0, (words, made.stderr)
    return folder


@pytest.mark.slow
def test_every_command_runs_and_copies_make_the_same_video(done):
    cool, sync, mine = (digests(done / "out" / name / "summary.json") for name in ("cool", "sync", "mine"))
    assert cool == sync == mine
    report = (done / "out" / "sweep" / "report.md").read_text()
    assert "overlap=cool" in report
    assert cool[0][:8] in report


def test_the_guides_have_files_and_commands():
    assert len(pages.files(*pages.GUIDES)) >= 15
    assert all(pages.commands(guide) for guide in pages.GUIDES)


def test_plug_ins_of_the_guides_import_public_names_alone():
    source = "\n".join(text for name, text in pages.files(*pages.GUIDES).items() if name.endswith(".py"))
    assert set(re.findall(r"pp1_orchestrator[\w.]*", source)) == {"pp1_orchestrator.plugin_api"}


def test_public_names_are_there_and_stay():
    """A name that goes breaks plug-ins: it may be added to this list, not taken from it."""
    stay = """
        CONDITIONING CachedEncoder ChunkPipeline ConfigError ContextPolicy DecodeState DecoderThread FrameEncoder
        InFlightChunk InlineLayout LatentHistory Layout LinkThread Mesh Overlap OverlapParts Payload RandomWeights
        ReceivedChunk RecipeMixer Result Routing SpawnedLayout StreamingDecoder TaehvLoader TextRecipe VaeLoader
        VaeParts VaeSource WanVaeLoader check_shapes exchange open_weights receive send
    """
    assert set(stay.split()) <= set(plugin_api.__all__)
    assert all(hasattr(plugin_api, name) for name in plugin_api.__all__)
