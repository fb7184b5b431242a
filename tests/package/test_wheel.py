"""What is installed from the wheel runs as the repository does: the command, its settings, the page, a sweep."""

import contextlib
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pp1_orchestrator import __version__
from tests.deploy.test_images import copied
from tests.package.installed import Installed, build, copy_repository, install, new_environment
from tests.system.program import Running, end_by_force, free_port
from tests.ui.browser import browsers, visit

pytestmark = pytest.mark.slow

CHOICES = ("overlap=sync", "model.steps=[1000,500]")
COMPLETE = """
eval "$(pp1 -sc install=bash)"
COMP_LINE="pp1 overlap=s" COMP_POINT=13 COMP_CWORD=1
hydra_bash_completion 2>/dev/null
echo "${COMPREPLY[@]}"
"""
"""What bash does when somebody presses the Tab key."""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return copy_repository(tmp_path_factory.mktemp("source") / "repository")


@pytest.fixture(scope="module")
def built(source) -> tuple[Path, Path]:
    folder = source.parent / "dist"
    folder.mkdir()
    return build(source, folder)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Installed:
    environment = new_environment(tmp_path_factory.mktemp("wheel"))
    install(environment, built[1])
    return environment


def files(folder: Path, name: str) -> set[str]:
    """All files of a folder, below `name`."""
    return {f"{name}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wanted(source) -> set[str]:
    """The files of the packages, those behind the links too."""
    found = files(source / "hydra_plugins", "hydra_plugins") | files(source / "pp1_orchestrator", "pp1_orchestrator")
    for name in ("conf", "ui"):
        found |= files(source / name, f"pp1_orchestrator/{name}")
    return found


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(built, wanted):
    names = set(zipfile.ZipFile(built[1]).namelist())
    about = f"pp1_orchestrator-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == wanted
    assert {f"{about}licenses/LICENSE", f"{about}entry_points.txt"} <= names
    assert "pp1_orchestrator/conf/config.yaml" in wanted


def test_the_source_archive_has_them_too_and_its_own_licence(built, wanted):
    with tarfile.open(built[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert wanted <= names
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "constraints.txt"} <= names
    assert {name.partition("/")[0] for name in names if "/" in name} == {
        "pp1_orchestrator", "hydra_plugins", "pp1_orchestrator.egg-info",
    }  # fmt: skip


def test_an_image_s_context_is_enough_for_the_same_wheel(built, source, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    for name in copied("Dockerfile"):
        if (source / name).is_dir():
            shutil.copytree(source / name, context / name, symlinks=True)
        else:
            shutil.copy(source / name, context)
    _, wheel = build(context, tmp_path)
    assert zipfile.ZipFile(wheel).namelist() == zipfile.ZipFile(built[1]).namelist()


def test_nothing_else_is_put_beside_other_packages(installed):
    found = {path.name for path in installed.site_packages.iterdir()} - {"dependencies.pth", "__pycache__"}
    assert found == {"pp1_orchestrator", "hydra_plugins", f"pp1_orchestrator-{__version__}.dist-info"}
    assert not (installed.site_packages / "hydra_plugins/__init__.py").exists()  # other packages may add plug-ins


def test_the_command_says_its_version_and_where_it_is(installed):
    assert installed.run(installed.pp1, "--version") == f"pp1_orchestrator {__version__}\n"
    python = installed.folder / "bin/python"
    where = installed.run(python, "-c", "import pp1_orchestrator.ui; print(pp1_orchestrator.ui.__file__)")
    assert Path(where.strip()).is_relative_to(installed.site_packages)
    for name in ("ui", "training", "conf"):
        done = subprocess.run([python, "-c", f"import {name}"], cwd=installed.work, env=installed.environment())
        assert done.returncode == 1, name


def test_the_settings_are_the_same_however_it_is_installed(installed, source, tmp_path):
    editable = new_environment(tmp_path)
    plain = editable.run(
        editable.folder / "bin/python", "-m", "pp1_orchestrator", "--cfg", "job", *CHOICES, PYTHONPATH=str(source)
    )
    install(editable, "--editable", source)
    assert "overlap" in plain
    assert editable.run(editable.pp1, "--cfg", "job", *CHOICES) == plain
    assert installed.run(installed.pp1, "--cfg", "job", *CHOICES) == plain


def test_the_tab_key_completes_the_command(installed):
    assert installed.run("bash", "-c", COMPLETE).split() == ["overlap=stage0_owned", "overlap=sync"]


def test_a_bench_runs(installed):
    installed.run(installed.pp1, "run=bench", "run.chunks=6", "hydra.run.dir=bench")
    summary = json.loads((installed.work / "bench/summary.json").read_text())
    assert summary["chunks"] == 6
    assert summary["config"]["layout"] == "cpu"


def test_a_sweep_ends_in_its_report(installed):
    choices = "overlap=sync,stage0_owned"
    short = ("run=bench", "run.chunks=6", "sweep.repeats=1", "layout=inline")
    installed.run(installed.pp1, "-m", *short, choices, "hydra.sweep.dir=sweep")
    report = (installed.work / "sweep/report.md").read_text()
    assert "stage0_owned" in report
    assert "<html" in (installed.work / "sweep/report.html").read_text()


@contextlib.contextmanager
def serving(installed: Installed) -> Iterator[Running]:
    port, log = free_port(), installed.work / "serve.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [
                installed.pp1,
                f"serving.port={port}",
                "hydra.run.dir=serve",
                "run.prompt=a blue star on a black background",
            ],
            cwd=installed.work,
            env=installed.environment(),
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        yield Running(process, port, log)
    finally:
        end_by_force(process)


def test_the_page_plays_the_stream(installed):
    with serving(installed) as program:
        program.wait_until_ready()
        assert f'pp1_build_info{{version="{__version__}"}} 1.0' in program.get("/metrics")[1]
        with browsers() as opened:
            browser = opened.get("chromium")
            page = visit(browser, f"http://127.0.0.1:{program.port}/")
            page.wait_playing()
            page.wait_status("Live")
            page.wait_colour("r + g + b > 0")
            assert page.complaints == []
        program.interrupt()
        assert program.process.wait(60) == 0, program.log
