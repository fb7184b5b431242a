"""What the command answers without running anything: its version, its help, and the choices behind the Tab key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pp1_orchestrator import __version__

ROOT = Path(__file__).resolve().parents[2]


def ask(*words: str, python: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, "-m", "pp1_orchestrator", *words]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120
    )


def test_the_version_is_the_program_s_own_and_needs_no_torch():
    said = ask("--version", python=("-X", "importtime"))
    assert said.stdout == f"pp1_orchestrator {__version__}\n"
    imported = {line.rpartition("|")[2].strip() for line in said.stderr.splitlines()}
    assert "pp1_orchestrator" in imported
    assert not imported & {"torch", "gradio", "fastapi"}


def imported_by(*python: str) -> set[str]:
    """Names of the modules that an interpreter with these arguments imports."""
    said = subprocess.run([sys.executable, "-X", "importtime", *python], cwd=ROOT, capture_output=True, text=True)
    return {line.rpartition("|")[2].strip() for line in said.stderr.splitlines()}


@pytest.mark.parametrize(
    "refused",
    [["layout.mesh_ranks=3"], ["model.steps=[500,750]"], ["run=plan", "stream.width=100"], ["serving.prot=1"]],
)
def test_a_refused_setting_needs_no_torch(tmp_path, refused):
    imported = imported_by("-m", "pp1_orchestrator", f"hydra.run.dir={tmp_path / 'out'}", *refused)
    assert "pp1_orchestrator.config.load_settings" in imported
    assert "torch" not in imported
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["pp1_orchestrator.app.serve", "pp1_orchestrator.mesh.process"])
def test_libraries_of_models_and_of_the_page_are_imported_when_they_are_needed(module):
    imported = imported_by("-c", f"import {module}")
    assert {module, "torch"} <= imported
    assert not imported & {"gradio", "transformers", "diffusers", "matplotlib", "torch._dynamo", "sympy"}


def test_help_begins_with_the_program_and_says_where_the_keys_are_explained():
    said = ask("overlap=sync", "serving.port=7000", "--help").stdout
    assert said.startswith("pp1: ")
    assert "docs/configuration.md" in said
    assert '"$(pp1 -sc install=bash)"' in said
    groups, keys = said.split("== Configuration groups ==")[1].split("== Keys ==")
    assert "\n  * overlap=sync " in groups
    assert "\n  serving.port=7000 " in keys
    assert said.count("\n  pp1 ") >= 5


@pytest.mark.parametrize(
    ("typed", "choices"),
    [
        ("pp1 overlap=s", ["overlap=stage0_owned", "overlap=sync"]),
        ("pp1 run=bench run.ch", ["run.chunks="]),
    ],
)
def test_the_tab_key_completes_choices_and_keys(typed, choices):
    assert ask("-sc", "query=bash", COMP_LINE=typed).stdout.split() == choices


@pytest.mark.parametrize("name", ["conf", "ui"])
def test_the_package_has_the_folders_of_the_repository(name):
    """As links, so that a checkout runs without being installed."""
    link = ROOT / "pp1_orchestrator" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


@pytest.mark.parametrize("words", [["--help"], ["--cfg", "job"]])
def test_a_reader_that_has_read_enough_is_no_fault(words):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as out:
        command = [sys.executable, "-m", "pp1_orchestrator", *words]
        said = subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, timeout=120)
    assert (said.returncode, said.stderr) == (0, "")
