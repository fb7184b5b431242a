"""run=plan from the command line: tables and plan.json, from a model's configuration files alone."""

import shutil

import pytest
from rich.filesize import decimal

from pp1_orchestrator.planning.make_plan import read_plan
from tests.system.program import run_to_end
from tests.system.warm import ROOT

SHIPPED = ROOT / "pp1_orchestrator" / "models" / "tiny"
COLUMNS = 100


@pytest.fixture(scope="module")
def weightless(tmp_path_factory):
    """The shipped model's folder without its weights."""
    folder = tmp_path_factory.mktemp("model") / "weightless"
    shutil.copytree(SHIPPED, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    assert not list(folder.rglob("*.safetensors"))
    return folder


@pytest.mark.parametrize(("layout", "ranks"), [("cpu", {"0", "1", "2"}), ("inline", {"0", "1"})])
def test_a_plan_is_printed_and_written(tmp_path, weightless, layout, ranks):
    out = tmp_path / "out"
    done = run_to_end("run=plan", f"layout={layout}", f"model.root={weightless}", out=out)
    assert done.returncode == 0, done.stderr
    plan = read_plan(out / "plan.json")
    assert plan.memory.keys() == ranks
    assert plan.predicted_period_ms.keys() == {"sync", "stage0_owned", "loop_ahead", "decode_thread"}
    assert min(plan.predicted_period_ms.values()) > 0
    for text in (
        "What the model tiny needs",
        "1. What runs where",
        "2. Routing",
        "3. Overlap",
        "What fits",
        "The limit",
        "measured here",
    ):
        assert text in done.stdout
    peak = next(line for line in done.stdout.splitlines() if "peak " in line)
    expected = [decimal(placement.peak) if placement.peak else "" for placement in plan.ranks.values()]
    assert [cell.strip() for cell in peak.strip("│").split("│")] == ["peak", *expected]
    for overlap, period in plan.predicted_period_ms.items():
        line = next(line for line in done.stdout.splitlines() if overlap in line)
        assert f"{period:.0f}" in line
    shown = [line for line in done.stdout.splitlines() if str(out) not in line]  # a folder's name is as long as it is
    assert max(map(len, shown)) <= COLUMNS
    assert not list(out.glob("*.mp4"))
    assert (out / ".hydra").stat().st_mode & 0o077 == 0  # a token may lie there


def test_a_model_without_its_vae_is_one_line(tmp_path, weightless):
    folder = tmp_path / "half"
    shutil.copytree(weightless, folder)
    shutil.rmtree(folder / "vae")
    done = run_to_end("run=plan", f"model.root={folder}", out=tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    line = f"configuration error: model.root={folder}: {folder}/vae: no such file or folder"
    assert done.stderr.splitlines()[-1] == line
