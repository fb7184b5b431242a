"""Installed packages: their entry points and their folders of options are found, and imported only where chosen."""

import os
import re
import subprocess
import sys
import tomllib
import warnings
from importlib.metadata import PathDistribution, distributions

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import MissingConfigException

from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.errors import ConfigError
from tests.documented import ROOT
from tests.plugins import pages
from tests.system.in_process import CONF, make_settings, run_script

CLASS = "class: "


def install(folder, name: str, points: dict[str, dict[str, str]]) -> None:
    """What an installer leaves for importlib.metadata."""
    text = "".join(
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in points.items()
    )
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    pages.write({f"{name}-1.0.dist-info/METADATA": metadata, f"{name}-1.0.dist-info/entry_points.txt": text}, folder)


@pytest.fixture
def installed(tmp_path, importable):
    """The guide's package as its last chapter installs it: options inside, without `class`."""
    texts = pages.files(pages.GUIDES[0])
    points = tomllib.loads(texts.pop("pyproject.toml"))["project"]["entry-points"]
    for name in [name for name in texts if name.startswith("options/")]:
        lines = texts.pop(name).splitlines(keepends=True)
        public = "pp1_orchestrator.plugin_api" in "".join(lines)
        texts[f"my_parts/{name}"] = "".join(line for line in lines if public or not line.startswith(CLASS))
    pages.write(texts, tmp_path)
    install(tmp_path, "my_parts", points)
    importable(tmp_path)
    return tmp_path


def test_a_word_is_enough(installed):
    words = ["overlap=cool", "overlap.options.pause_s=0", "routing=styled", "routing.options.words=''"]
    own = run_script(*words, chunks=2)[0]
    assert own.pixels_sha256 == run_script("overlap=sync", chunks=2)[0].pixels_sha256
    assert (own.config.overlap, own.config.routing) == ("cool", "styled")


def test_a_package_without_that_entry_is_found_by_its_name(guide, tmp_path):
    """As an override of hydra.searchpath; its classes are allowed, not installed."""
    (tmp_path / "options").rename(tmp_path / "my_parts" / "options")
    pages.write({"my_parts/__init__.py": "", "my_parts/options/__init__.py": ""}, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made, _ = make_settings("hydra.searchpath=[pkg://my_parts.options]", guide[1], "overlap=cool")
    assert Registry(made).overlap.kind.__name__ == "Cool"


def test_a_model_may_be_trained_for_an_installed_context(installed):
    made, _ = make_settings("model.context=last_chunk")
    assert made.context.name == "clean_pass"


def test_what_is_not_chosen_is_not_imported(installed):
    for module in installed.glob("my_parts/*.py"):
        module.write_text("raise RuntimeError('broken')\n")
    make_settings()
    assert [name for name in sys.modules if name.startswith("my_parts")] == []
    with pytest.raises(
        ConfigError, match=r"^overlap=cool: .* importing my_parts\.overlap failed: RuntimeError: broken$"
    ):
        make_settings("overlap=cool")


def test_its_options_are_among_the_choices(installed):
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(MissingConfigException) as refused:
        compose("config", ["overlap=nothing"])
    assert {"cool", "sync"} <= set(refused.value.options or [])


def test_the_name_of_a_built_in_one_is_refused_where_it_is_chosen(installed):
    install(installed, "clash", {"pp1_orchestrator.overlap": {"sync": "my_parts.overlap:Cool"}})
    make_settings()
    with pytest.raises(ConfigError) as refused:
        make_settings("overlap=sync")
    assert str(refused.value) == "overlap=sync: this name is built in; my_parts.overlap:Cool needs another one"


def test_one_name_of_two_packages_is_refused(installed):
    install(installed, "other", {"pp1_orchestrator.overlap": {"cool": "others.overlap:Cooler"}})
    with pytest.raises(ConfigError, match=r"^overlap=cool: several installed packages have it: .*others.*; keep one"):
        make_settings("overlap=cool")


@pytest.mark.parametrize("written", ["my_parts.overlap : Cool", "my_parts.overlap:Cool [fast]"])
def test_an_entry_may_have_spaces_and_extras(installed, written):
    install(installed, "spaced", {"pp1_orchestrator.overlap": {"spaced": written}})
    made, _ = make_settings("overlap.name=spaced")
    assert Registry(made).overlap.kind.__name__ == "Cool"


@pytest.mark.parametrize("written", ["my_parts.overlap", "my_parts.overlap:Cool.step", ".overlap:Cool", ""])
def test_an_entry_that_names_no_class_is_refused_where_it_is_chosen(installed, written):
    install(installed, "classless", {"pp1_orchestrator.overlap": {"classless": written}})
    make_settings()
    with pytest.raises(ConfigError) as refused:
        make_settings("overlap.name=classless")
    assert str(refused.value) == f"overlap=classless: {written}: expected package.module:Class"


def test_a_class_in_the_yaml_counts_before_an_entry_point(installed):
    (installed / "my_parts" / "other.py").write_text(
        "from my_parts.overlap import Cool\nclass Other(Cool):\n    pass\n"
    )
    for more, name in (([], "Cool"), (["+overlap.class=my_parts.other:Other", "plugins.allow=[my_parts]"], "Other")):
        made, _ = make_settings("overlap=cool", *more)
        assert Registry(made).overlap.kind.__name__ == name


def test_a_folder_that_is_not_there_is_a_warning(installed):
    install(installed, "empty", {"pp1_orchestrator.conf": {"empty": "nowhere.options"}})
    with pytest.warns(UserWarning, match=r"^empty: no folder nowhere\.options is installed; its options are left out$"):
        make_settings()


DAMAGED = {
    "no text": (
        b"[pp1_orchestrator.overlap]\n\xff\xfe = odd:Odd\n",
        "'utf-8' codec can't decode byte 0xff in position 27",
    ),
    "no entry": (b"[pp1_orchestrator.overlap]\nodd\n", "'odd' is no entry"),
}


@pytest.mark.parametrize(("written", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_a_package_with_a_damaged_list_of_entry_points_is_left_out_with_one_line(tmp_path, written, reason):
    """By the whole program: torch reads the lists of all packages too."""
    install(tmp_path, "odd", {})
    damaged = tmp_path / "odd-1.0.dist-info" / "entry_points.txt"
    damaged.write_bytes(written)
    words = [sys.executable, "-m", "pp1_orchestrator", "run=fetch", f"hydra.run.dir={tmp_path / 'out'}"]
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    done = subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(rf"^.*{damaged}.*$", done.stderr, re.MULTILINE) == [done.stderr.splitlines()[0]]
    assert done.stderr.startswith(f"{damaged} can't be read and is left out: {reason}")
    assert "Traceback" not in done.stderr


def test_the_lists_of_all_packages_are_read_once(installed, monkeypatch):
    read: list[str] = []
    read_text = PathDistribution.read_text

    def count(self, filename):
        read.append(filename)
        return read_text(self, filename)

    monkeypatch.setattr(PathDistribution, "read_text", count)
    make_settings("overlap=cool")
    make_settings()
    assert 0 < read.count("entry_points.txt") <= sum(1 for _ in distributions())
