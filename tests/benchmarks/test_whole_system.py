"""The benchmark of the whole system in its small form: every overlap's row, one video, memory beside the plan's."""

import msgspec
import pytest

from benchmarks.whole_system import MIB, main, memory_rows
from tests.report.factories import summary

pytestmark = pytest.mark.slow


def test_every_overlap_makes_the_same_video_and_the_plan_knows_its_memory(capsys):
    main(["--set", "layout=inline", "stream.height=64", "stream.width=64", "--chunks", "12"])
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    runs = [line for line in lines if line[0][2:] in ("sync", "stage0_owned", "loop_ahead", "decode_thread")]
    assert len(runs) == 4
    assert len({(line[7], line[8]) for line in runs}) == 1
    assert all(int(line[6]) <= 2 for line in runs)
    planned = {line[1]: line[4] for line in lines if line[-1].endswith("% |")}
    assert set(planned) == {"vae", "text_encoder", "generator", "kv_cache", "text_cache", "decode_cache"}
    assert all(abs(float(off.removesuffix("% |"))) <= 10 for off in planned.values())
    (peak,) = (line for line in lines if line[1] == "peak")
    held = sum(float(line[3]) for line in lines if line[1] in planned)
    assert float(peak[2]) > float(peak[3]) > held, "resident, libraries included; planned; components"
    assert peak[4] == " |", "one is no measure of the other"


def test_a_gpus_peak_is_held_against_the_plans():
    made = msgspec.structs.replace(summary(), memory={"0": {"vae": 4 * MIB, "peak": 10 * MIB}})
    rows = memory_rows(made, {"0": {"vae": 4 * MIB, "peak": 9 * MIB}}, on_gpu=True)
    assert rows[2:] == ["| 0 | vae | 4.0 | 4.0 | +0.0% |", "| 0 | peak | 10.0 | 9.0 | -10.0% |"]
