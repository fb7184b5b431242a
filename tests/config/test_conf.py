"""Every file in conf/ makes a configuration that the program takes: no broken option can hide."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from pp1_orchestrator.app.run import MODES
from pp1_orchestrator.app.strategy_registry import BUILT_IN
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.validate import check_options, validate
from pp1_orchestrator.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"
KNOWN = {**BUILT_IN, "run": MODES}
GROUPS = sorted(folder.name for folder in CONF.iterdir() if folder.is_dir())
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
INPUT = ("source.path=input.mp4",)
NEEDED = {"cache": ("model.window.sink=3",), "source=file": INPUT, "source=image": INPUT}
"""What a group's options, or one of them, need that the defaults do not have."""
EXPERIMENTS = [option for group, option in OPTIONS if group == "experiment"]


def settings(*overrides: str) -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return load_settings(compose("config", list(overrides)))


def check(made: Settings) -> None:
    """Validate; that this machine lacks the device of an option is the last rule, and no fault of the option."""
    try:
        validate(made)
        check_options(made, KNOWN)
    except ConfigError as error:
        if made.layout.device == "cpu" or not str(error).startswith("layout.device="):
            raise


def test_compiled_passes_that_are_split_over_gpus_need_nccl():
    """In a plan, which may be for another machine: this one need not have the GPUs."""
    validate(settings("run=plan", "layout=gpu_1p2", "layout.compile=true"))
    validate(settings("run=plan", "layout=gpu_1p1", "layout.compile=true", "layout.backend=gloo"))
    with pytest.raises(ConfigError, match=r"^layout\.backend=gloo: .* need NCCL; possible: nccl$"):
        validate(settings("run=plan", "layout=gpu_1p2", "layout.compile=true", "layout.backend=gloo"))


def test_one_rank_alone_may_compile_whatever_would_split_the_model():
    validate(settings("parallel=sequence", "layout=inline", "layout.compile=true"))
    with pytest.raises(ConfigError, match=r"^parallel=sequence: layout\.compile=true .*; possible: tensor$"):
        validate(settings("parallel=sequence", "layout.compile=true"))


def test_a_way_to_split_the_model_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match=r"^parallel=pipeline: not an option; choices: tensor, sequence$"):
        validate(settings("parallel.name=pipeline"))


def test_the_folder_has_groups_and_nothing_but_yaml():
    assert {"experiment", "layout", "overlap", "run"} <= set(GROUPS)
    assert [path for path in CONF.rglob("*") if path.is_file() and path.suffix != ".yaml"] == []


def test_the_defaults_alone_are_a_configuration():
    check(settings())


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_each_option_over_the_defaults(group, option):
    check(settings(f"{group}={option}", *NEEDED.get(group, NEEDED.get(f"{group}={option}", ()))))


@pytest.mark.parametrize("group", [group for group in GROUPS if group in KNOWN])
def test_each_word_that_is_built_in_can_be_chosen(group):
    chosen = {getattr(settings(f"{of}={option}"), of).name for of, option in OPTIONS if of == group}
    assert chosen == set(KNOWN[group])


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_is_asked_for_beside_an_experiment_wins(experiment):
    for overlap in BUILT_IN["overlap"]:
        made = settings(f"experiment={experiment}", f"overlap={overlap}", "run=serve", "seed=5")
        assert (made.overlap.name, made.run.name, made.seed) == (overlap, "serve", 5)


def test_the_baseline_and_the_bench_differ_in_overlap_alone():
    bench, baseline = settings("experiment=laptop_bench"), settings("experiment=strict_sync_baseline")
    assert (bench.overlap.name, baseline.overlap.name) == ("stage0_owned", "sync")
    assert settings("experiment=laptop_bench", "overlap=sync") == baseline


def test_live_and_one_process_serve_and_differ_in_layout():
    live, single = settings("experiment=laptop_live"), settings("experiment=one_process")
    assert (live.run.name, live.layout.name, single.layout.name) == ("serve", "cpu", "inline")
    assert settings("experiment=laptop_live", "layout=inline") == single


def test_a_mesh_rank_is_named_after_its_number_or_its_number_in_the_mesh():
    apart, beside = (settings("layout=gpu_1p4", f"layout.mesh_device='cuda:{{{name}}}'") for name in ("rank", "index"))
    assert apart.layout.devices == ["cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4"]
    assert beside.layout.devices == ["cuda:0", "cuda:0", "cuda:1", "cuda:2", "cuda:3"]


@pytest.mark.parametrize(("device", "said"), [("cuda:{ranks}", "{ranks}"), ("cuda:{rank", "{rank"), ("cuda:}", "}")])
def test_an_unknown_placeholder_is_refused(device, said):
    with pytest.raises(ConfigError) as refused:
        validate(settings(f"layout.mesh_device='{device}'"))
    assert (
        str(refused.value) == f"layout.mesh_device={device}: {said} is not a placeholder; possible: {{rank}}, {{index}}"
    )


def test_an_ice_server_can_be_given_on_the_command_line(monkeypatch):
    monkeypatch.setenv("TURN_CREDENTIAL", "a=b, {c}")
    turn = "{urls: ['turn:a.example:80?transport=tcp'], username: me, credential: '${oc.env:TURN_CREDENTIAL}'}"
    servers = settings(f"serving.ice_servers=[{{urls: 'stun:a.example'}}, {turn}]").serving.ice_servers
    assert [server.addresses for server in servers] == [("stun:a.example",), ("turn:a.example:80?transport=tcp",)]
    assert (servers[1].username, servers[1].credential) == ("me", "a=b, {c}")


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ("{urls: x, credentials: swordfish}", "serving.ice_servers[0].credentials: no such key"),
        ("swordfish", "serving.ice_servers[0]: expected `object`, got `str`"),
        ("{urls: x, credential: [swordfish]}", "serving.ice_servers[0].credential: expected `str | null`, got `array`"),
    ],
)
def test_the_error_of_an_ice_server_does_not_show_its_credential(server, line):
    with pytest.raises(ConfigError) as refused:
        settings(f"serving.ice_servers=[{server}]")
    assert str(refused.value).startswith(line)
    assert "swordfish" not in str(refused.value)
