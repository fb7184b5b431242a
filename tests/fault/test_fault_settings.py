"""Scripted faults are asked for by configuration: what can't be is one line, and a mesh started anew is a good one."""

import pytest

from pp1_orchestrator.app.run import MODES
from pp1_orchestrator.app.strategy_registry import check
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.testing.faults import KINDS, LASTING, without_fault
from tests.config.test_conf import settings


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        (["kind=explode"], f"debug.fault.kind=explode: no such fault; choices: {', '.join(sorted(KINDS))}"),
        (["rank=3"], "debug.fault.rank=3: no such rank of the mesh; possible: 1 to 2"),
        (["rank=0"], "debug.fault.rank=0: expected `int` >= 1"),
        (["chunk=-1"], "debug.fault.chunk=-1: expected `int` >= 0"),
        (["seconds=61"], "debug.fault.seconds=61: expected `float` <= 60.0"),
        (["kind=drop", "rank=2"], "debug.fault.rank=2: drop applies to the leader's answer; possible: 1"),
    ],
)
def test_a_fault_that_can_not_be_is_one_line(choices, line):
    with pytest.raises(ConfigError) as error:
        check(settings("debug=fault", *(f"debug.fault.{choice}" for choice in choices)), MODES)
    assert str(error.value) == line


@pytest.mark.parametrize("kind", ["kill", "corrupt"])
def test_one_process_has_no_rank_to_lose(kind):
    words = f"debug.fault.kind={kind}: layout=inline has no mesh process; possible: "
    words += "device, device_lasting, hang_decoding, none, not_finite, oom, oom_twice, raise, sleep"
    with pytest.raises(ConfigError, match=words):
        check(settings("layout=inline", "debug=fault", f"debug.fault.kind={kind}"), MODES)


@pytest.mark.parametrize("kind", sorted(KINDS - LASTING))
def test_a_fault_happens_to_the_first_mesh_alone(kind):
    asked = settings("debug=fault", f"debug.fault.kind={kind}")
    check(asked, MODES)
    assert without_fault(asked) == without_fault(settings("debug=fault", "debug.fault.kind=none"))
