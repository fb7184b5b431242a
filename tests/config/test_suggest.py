"""A mistyped command is one line, with what was meant where that is near."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from pp1_orchestrator.config.load_settings import load_settings, one_line
from pp1_orchestrator.errors import ConfigError
from tests.system.in_process import CONF

SUGGESTED = {
    "serving.prot=7000": "serving.port", "serving.hots=::": "serving.host", "serving.tokn=abc": "serving.token",
    "run.chunk=3": "run.chunks", "run.promt=a": "run.prompt", "run.scipt=a.yaml": "run.script", "sed=3": "seed",
    "stream.hight=64": "stream.height", "stream.witdh=64": "stream.width", "layout.thread=2": "layout.threads",
    "deadlines.mesage=3": "deadlines.message", "supervision.restart=3": "supervision.restarts",
    "log.fromat=json": "log.format", "overlap.din=2": "overlap.d_in", "modle=tiny": "model",
    "overlpa=sync": "overlap", "ruting=rank0_encoder": "routing", "layuot=cpu": "layout", "trase=false": "trace",
    "+serving.prot=7000": "serving.port", "+outptus=a": "outputs", "run.resme=never": "run.resume",
    "overlap=stage0owned": "stage0_owned", "overlap=snyc": "sync", "layout=inlin": "inline", "layout=cpus": "cpu",
    "model=tinny": "tiny", "context=clean-pass": "clean_pass", "run=bensh": "bench",
    "routing=rank_encoder": "rank0_encoder",
}  # fmt: skip
NOTHING_NEAR = ("+foo=1", "foo=1", "bench", "overlap=zzz")


def line_of(words: str) -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises((HydraException, ConfigError)) as refused:
        load_settings(compose("config", [words]))
    line = one_line(refused.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(("words", "meant"), SUGGESTED.items())
def test_what_was_meant_is_suggested(words, meant):
    assert line_of(words).endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize("words", NOTHING_NEAR)
def test_where_nothing_is_near_nothing_is_suggested(words):
    assert "did you mean" not in line_of(words)


def test_a_key_that_is_added_is_refused_as_any_other():
    assert line_of("+foo=1") == line_of("foo=1") == "foo: no such key; `--cfg job` lists all of them"
