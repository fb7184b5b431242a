"""Every model is planned for every layout on every machine: what can't fit or is not there is said, never refused."""

import math
import resource

import msgspec
import pytest
from rich.console import Console

from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.config.conf_files import CONF
from pp1_orchestrator.config.machine import MachineSettings
from pp1_orchestrator.config.options import read_option
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.validate import validate
from pp1_orchestrator.planning.make_plan import predict
from pp1_orchestrator.planning.planned_machine import planned_machine, tables_of
from pp1_orchestrator.planning.profile_store import ProfileStore
from pp1_orchestrator.planning.tables import render
from tests.planning.factories import settings
from tests.system.program import run_to_end

PLAN_S = 10
"""What a plan may take on an idle machine."""
STORE = ProfileStore(None)


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


MODELS, LAYOUTS = options("model"), options("layout")
MACHINES = [name for name in options("machine") if name != "here"]


def plan_for_all_machines(made: Settings) -> None:
    config = validate(made)
    for name in MACHINES:
        asked = msgspec.structs.replace(made, machine=read_option("machine", name, MachineSettings, "machine"))
        profile = STORE.profile(asked, config, STRATEGIES)
        plan = predict(asked, profile, planned_machine(asked, profile, tables_of(asked.machine)), STRATEGIES)
        assert all(0 < period < math.inf for period in plan.predicted_period_ms.values())
        assert {need.device for need in plan.devices} == set(made.layout.devices)
        gpus = {need.device for need in plan.devices if need.device.startswith("cuda")}
        assert plan.fits <= (len(gpus) <= (asked.machine.gpus or 0))
        console = Console(width=100, record=True, quiet=True)
        console.print(render(plan, STRATEGIES))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_small_model_is_planned_for_every_machine(layout):
    plan_for_all_machines(settings("run=plan", f"layout={layout}"))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_planned_for_every_machine(model, layout):
    plan_for_all_machines(settings("run=plan", f"model={model}", f"layout={layout}"))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_a_first_plan_takes_no_longer_than_promised(tmp_path, monkeypatch, model, layout):
    """In a process of its own, with nothing counted or measured before. By processor time: others may be busy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_to_end("run=plan", f"model={model}", f"layout={layout}", out=tmp_path / "out", timeout_s=600, cold=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < PLAN_S
