"""Settings from Python: the command line's errors word for word, and nothing left behind in Hydra or in the process."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import getbase

import pp1_orchestrator
from pp1_orchestrator import Settings, Stream
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.errors import ConfigError
from tests.system import warm
from tests.system.in_process import CONF

REFUSED = [
    "overlap=synk", "sed=3", "seed=-1", "overlap=sync,loop_ahead", "foo", "stream.height=abc", "layout=gpu_9",
    "model.window={frames:3,chunks:4}", "run.prompt=",
]  # fmt: skip


def test_the_settings_are_those_that_hydra_s_own_interface_composes():
    overrides = ["overlap=sync", "layout=inline", "stream.height=64", "supervision.pauses_s=[1,2.5]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        expected = msgspec.to_builtins(load_settings(compose("config", overrides)))
    assert msgspec.to_builtins(Settings.compose(*overrides)) == expected
    dotted: dict = {"supervision.pauses_s": (1, 2.5)}
    values: dict = {"overlap": "sync", "layout": "inline", "stream": {"height": 64}}
    for composed in (
        Settings.compose(**values, supervision={"pauses_s": [1, 2.5]}),
        Settings.compose("seed=1", "stream.height=128", seed=42, **values, **dotted),
    ):
        assert msgspec.to_builtins(composed) == expected


@pytest.mark.parametrize(
    "text", ["a 'q' \\ and \"d\"", "x=1 {a: [b]}", "a, b\n c", "7", "null", "a\\", "träumt 🐈", " "]
)
def test_any_text_arrives_as_it_is(text):
    assert Settings.compose(run={"prompt": text, "script": Path("/a b/c,d.yaml")}).run.prompt == text


def test_values_have_their_types():
    settings = Settings.compose(serving={"token": None, "port": 7861}, trace=False, deadlines={"stop": 2.5})
    assert (settings.serving.token, settings.serving.port, settings.trace, settings.deadlines.stop) == (
        None,
        7861,
        False,
        2.5,
    )
    with pytest.raises(ConfigError, match=r"^seed: a object is no value of a setting; possible: text, "):
        Settings.compose(seed=object())


@pytest.mark.parametrize("override", [*REFUSED, "--config-dir"])
def test_an_error_is_the_line_of_the_command_line(override, tmp_path):
    missing = tmp_path / "missing"
    words = ["--config-dir", str(missing)] if override == "--config-dir" else [override]
    process = warm.start(
        [*words, "run=plan", f"hydra.run.dir={tmp_path / 'out'}"], tmp_path / "said", tmp_path / "said"
    )
    assert process.wait() == 2
    said = (tmp_path / "said").read_text(encoding="utf-8")
    folder = missing if len(words) > 1 else None
    with pytest.raises(ConfigError) as refused:
        Stream(Settings.compose(*([] if folder else words), config_dir=folder))
    assert said == f"configuration error: {refused.value}\n"


def test_a_folder_of_options_adds_to_a_group(tmp_path):
    (tmp_path / "overlap").mkdir()
    text = (CONF / "overlap" / "sync.yaml").read_text(encoding="utf-8")
    (tmp_path / "overlap" / "own.yaml").write_text(text.replace("name: sync", "name: own"), encoding="utf-8")
    assert Settings.compose("overlap=own", config_dir=tmp_path).overlap.name == "own"
    with pytest.raises(ConfigError, match=r"^overlap=own: not an option; choices: "):
        Settings.compose("overlap=own")


def test_the_caller_s_own_hydra_is_left_alone(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: 1\n", encoding="utf-8")
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        before = GlobalHydra.instance().hydra, getbase(), HydraConfig.initialized()
        Settings.compose("overlap=sync")
        with pytest.raises(ConfigError):
            Settings.compose("overlap=synk")
        assert (GlobalHydra.instance().hydra, getbase(), HydraConfig.initialized()) == before
        assert compose("mine") == {"a": 1}
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.yaml"]


def test_the_import_is_cheap_and_its_names_are_there():
    code = "import sys, pp1_orchestrator; print(*sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240).stdout
    heavy = {"torch", "numpy", "hydra", "gradio", "transformers", "diffusers", "msgspec", "asyncio"}
    assert heavy & set(said.split()) == set()
    assert all(hasattr(pp1_orchestrator, name) for name in pp1_orchestrator.__all__)
    assert set(pp1_orchestrator.__all__) <= set(dir(pp1_orchestrator))
    with pytest.raises(AttributeError, match="no attribute 'Strean'"):
        getattr(pp1_orchestrator, "Strean")  # noqa: B009 - the type check would find the other way
