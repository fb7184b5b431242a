"""Every model is planned for every layout on every machine, in time: what can't fit is said, never refused.

Each model and layout is counted anew, and what the start of a program takes is added: a process for each would spend
most of its time on the same imports.
"""

import math
import resource
import time

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
from pp1_orchestrator.planning.profile import ModelProfile
from pp1_orchestrator.planning.profile_store import ProfileStore
from pp1_orchestrator.planning.tables import render
from tests.planning.factories import settings
from tests.system.program import run_to_end

PLAN_S = 10
"""What a plan may take on an idle machine."""
HERE = ("run=plan", "model=wan2_1_1_3b", "layout=cpu")
"""A first plan of these imports all that any plan needs, and measures this machine as well."""


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


MODELS, LAYOUTS = options("model"), options("layout")
MACHINES = {name: read_option("machine", name, MachineSettings, "machine") for name in options("machine")}
del MACHINES["here"]


def counted(made: Settings) -> tuple[ModelProfile, float]:
    """The profile, and the processor time that it took with nothing counted before."""
    start_s = time.process_time()
    profile = ProfileStore(None).profile(made, validate(made), STRATEGIES)
    return profile, time.process_time() - start_s


def plan_for_all_machines(made: Settings, profile: ModelProfile) -> None:
    for there in MACHINES.values():
        asked = msgspec.structs.replace(made, machine=there)
        plan = predict(asked, profile, planned_machine(asked, profile, tables_of(there)), STRATEGIES)
        assert all(0 < period < math.inf for period in plan.predicted_period_ms.values())
        assert {need.device for need in plan.devices} == set(made.layout.devices)
        gpus = {need.device for need in plan.devices if need.device.startswith("cuda")}
        assert plan.fits <= (len(gpus) <= (there.gpus or 0))
        console = Console(width=100, record=True, quiet=True)
        console.print(render(plan, STRATEGIES))


@pytest.fixture(scope="module")
def start_s(tmp_path_factory) -> float:
    """Processor time of a first plan beside its counting: start, imports, rates of this machine, tables.

    In a process of its own, with nothing counted or measured before. By processor time: others may be busy.
    """
    folder = tmp_path_factory.mktemp("first")
    counted(settings(*HERE))  # imports what it needs here, so that the next is counting alone
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run_to_end(*HERE, out=folder / "out", timeout_s=600, cold=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / "cache" / "pp1-orchestrator").iterdir()} >= {"profiles"}
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent_s - counted(settings(*HERE))[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_small_model_is_planned_for_every_machine(layout):
    made = settings("run=plan", f"layout={layout}")
    plan_for_all_machines(made, counted(made)[0])


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_planned_for_every_machine_as_soon_as_promised(start_s, model, layout):
    made = settings("run=plan", f"model={model}", f"layout={layout}")
    profile, counted_s = counted(made)
    assert start_s + counted_s < PLAN_S
    plan_for_all_machines(made, profile)
