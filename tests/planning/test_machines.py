"""Plans for machines that are not here: against what was measured on them, and what fits."""

import functools
import io
import shlex

import msgspec
import pytest
import yaml
from rich.console import Console

from pp1_orchestrator.app.plan import other_choices
from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.config.machine import MachineSettings
from pp1_orchestrator.config.options import read_option
from pp1_orchestrator.config.schema import LayoutSettings
from pp1_orchestrator.config.validate import generator_config, validate
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.planning.make_plan import Plan, predict
from pp1_orchestrator.planning.planned_machine import has_fp8, planned_machine, tables_of
from pp1_orchestrator.planning.profile_store import ProfileStore
from pp1_orchestrator.planning.rate_tables import read_rates
from pp1_orchestrator.planning.search import ONE_PROCESS, SPLIT, search
from pp1_orchestrator.planning.search_table import render_search
from tests.planning.factories import settings

STORE = ProfileStore(None)
LAYOUTS = {name: read_option("layout", name, LayoutSettings, "layout") for name in (ONE_PROCESS, *SPLIT)}
LARGE = ("model=krea_14b", "model.weights=random", "model.root=/nowhere", "model.steps=[1000,750,500,250]")
"""With four steps, as it was measured."""
WIDE = ("model=wan2_1_1_3b", "model.weights=random", "model.root=/nowhere")
FAST = ("layout.compile=true", "machine=h200x4")
BESIDE = "layout.mesh_device='cuda:{index}'"
WITHIN, MEMORY_WITHIN = 0.1, 0.03
MIB = 1 << 20


@functools.cache
def planned(*options: str) -> Plan:
    made = settings(*options)
    profile = STORE.profile(made, generator_config(made.model), STRATEGIES)
    return predict(made, profile, planned_machine(made, profile, tables_of(made.machine)), STRATEGIES)


def mesh_ms(plan: Plan) -> float:
    return sum(plan.phases_ms[name] for name in ("denoise", "clean_pass", "recompute"))


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ((*LARGE, "layout=gpu_1p1", *FAST), 469.7),
        ((*LARGE, "layout=gpu_1p1", *FAST, "layout.fp8=true"), 316.3),
        ((*LARGE, "layout=gpu_1p1", *FAST, "machine.attention=cudnn"), 501.4),
        ((*WIDE, "layout=gpu_1p1", *FAST), 327.1),
        ((*WIDE, "layout=gpu_1p1", *FAST, "layout.fp8=true"), 299.0),
        ((*WIDE, "layout=gpu_1p1", *FAST, "machine.attention=cudnn"), 373.2),
        ((*LARGE, "layout=gpu_1p2", *FAST, BESIDE), 361.5),
    ],
)
def test_a_generator_takes_what_was_measured_on_an_h200(options, measured):
    assert mesh_ms(planned(*options)) == pytest.approx(measured, rel=WITHIN)


@pytest.mark.parametrize(("model", "measured"), [(LARGE, 52.8), (WIDE, 114.9)])
def test_a_compiled_decode_takes_what_was_measured(model, measured):
    assert planned(*model, "layout=gpu_1p1", *FAST).phases_ms["decode"] == pytest.approx(measured, rel=WITHIN)


@pytest.mark.parametrize(
    ("options", "overlap", "measured"),
    [
        ((*WIDE, "layout=gpu_1p1"), "stage0_owned", 328.5),
        ((*LARGE, "layout=gpu_1p1"), "stage0_owned", 506.2),
        ((*LARGE, "layout=gpu_1p1"), "sync", 12e3 / 22.2),
        ((*LARGE, "layout=gpu_1p2", BESIDE), "stage0_owned", 393.6),
        ((*WIDE, "layout=inline", "layout.device=cuda"), "sync", 12e3 / 27.6),
    ],
)
def test_a_period_is_what_was_measured_of_the_whole_system(options, overlap, measured):
    assert planned(*options, *FAST).predicted_period_ms[overlap] == pytest.approx(measured, rel=WITHIN)


@pytest.mark.parametrize(
    ("options", "measured"),
    [
        ((*WIDE, "layout=inline", "layout.device=cuda"), {"0": 29971}),
        ((*WIDE, "layout=gpu_1p2", "stream.height=320", "stream.width=576"), {"0": 15772, "1": 2884, "2": 2884}),
    ],
)
def test_memory_of_compiled_runs_is_what_was_measured(options, measured):
    plan = planned(*options, *FAST)
    found = {rank: placement.peak / MIB for rank, placement in plan.ranks.items() if placement.peak}
    assert found == {rank: pytest.approx(mib, rel=MEMORY_WITHIN) for rank, mib in measured.items()}


def test_what_does_not_fit_says_by_how_much():
    plan = planned(*LARGE, "layout=gpu_1p1", "layout.compile=true", "machine=rtx4090x2")
    needs = {need.device: need for need in plan.devices}
    assert needs["cuda:0"].spare > 0
    assert needs["cuda:1"].spare < 0
    assert not plan.fits
    peak = plan.ranks["1"].peak
    assert peak is not None
    assert needs["cuda:1"].needed > peak, "a GPU's context comes on top"


def test_a_machine_with_too_few_gpus_is_planned_for_all_the_same():
    plan = planned(*WIDE, "layout=gpu_1p2", "machine=h200x1", "layout.compile=true")
    assert [need.room > 0 for need in plan.devices] == [True, False, False]
    assert min(plan.predicted_period_ms.values()) > 0


def test_a_datasheets_machine_reaches_the_shares_that_were_measured():
    options = (*LARGE, "layout=gpu_1p1", "layout.compile=true")
    h200, a100 = (planned(*options, f"machine={name}", "machine.attention=cudnn") for name in ("h200x2", "a100x4"))
    ratio = a100.bounds_ms["mesh rank"]["products"] / h200.bounds_ms["mesh rank"]["products"]
    assert ratio == pytest.approx(989.5 / 312, rel=0.01)


def test_a_search_puts_the_fewest_gpus_first_and_says_what_to_run():
    made = settings(*LARGE, "plan.target_fps=24", "plan.gpus=4", "machine=h200x4")

    def predicted(asked, config, strategies) -> Plan:
        profile = STORE.profile(asked, config, strategies)
        return predict(asked, profile, planned_machine(asked, profile, tables_of(asked.machine)), strategies)

    found = search(made, generator_config(made.model), STRATEGIES, LAYOUTS, predicted, fp8=True)
    enough = found.enough
    assert enough == found.candidates[: len(enough)]
    assert [one.gpus for one in enough] == sorted(one.gpus for one in enough)
    assert all(one.fps >= 24 and one.spare >= 0 for one in enough)
    assert enough[0].options[0] == "layout=inline"
    for one in enough:
        assert settings(*LARGE, *(option.strip('"') for option in one.options)).layout.name == one.layout
    printed = io.StringIO()
    console = Console(width=100, file=printed)
    long = msgspec.structs.replace(found, given=["model=krea_14b", "'model.steps=[1000,750,500,250]'", "stream.fps=24"])
    console.print(render_search(long, made.plan), crop=False)
    command = f"pp1 {' '.join([*long.given, *enough[0].options])}"
    assert len(command) > 100
    assert printed.getvalue().splitlines()[-1] == command


def test_the_command_of_a_search_has_all_else_that_was_chosen():
    words = ["--config-dir", "/my conf", "run=plan", "plan.search=true", "machine=h200x4", "layout=cpu", "overlap=sync"]
    chosen = ["model=krea_14b", "model.steps=[1000,500]", "run.prompt='a, b'", "layout.threads=3", "serving.token=x"]
    given = other_choices([*words, *chosen])
    assert shlex.split(" ".join(given)) == ["--config-dir", "/my conf", "model=krea_14b", "model.steps=[1000,500]"]
    assert other_choices(["experiment=longlive", "run=plan"]) == ["experiment=longlive", "run=serve"]


def test_a_search_needs_a_machine_with_gpus():
    made = settings("plan.search=true")
    with pytest.raises(ConfigError, match=r"^plan\.search=true: machine=here has no GPU"):
        search(made, generator_config(made.model), STRATEGIES, LAYOUTS, lambda *_: planned(), fp8=True)


def test_a_machine_that_was_measured_says_itself_whether_it_has_8_bit_floats():
    """Its file has no peaks; one by the datasheet has."""
    measured = settings("machine=h200x2", *(f"machine.{name}_tflops=null" for name in ("bf16", "fp8", "fp32"))).machine
    tables = tables_of(measured)
    without = {**tables, "cuda": msgspec.structs.replace(tables["cuda"], products={"bfloat16": ((64, 64, 64, 1.0),)})}
    assert (has_fp8(measured, tables), has_fp8(measured, without)) == (True, False)
    sheets = [settings(f"machine={name}").machine for name in ("h100x2", "a100x2")]
    assert [has_fp8(sheet, tables_of(sheet)) for sheet in sheets] == [True, False]
    fast = ("layout=gpu_1p1", "layout.compile=true", "layout.fp8=true", *LARGE)
    no_peaks = ("machine.bf16_tflops=null", "machine.fp8_tflops=null")
    validate(settings("run=plan", *fast, "machine=h200x2", *no_peaks))
    with pytest.raises(ConfigError, match=r"^layout\.fp8=true: machine=a100x2 has no 8-bit floats"):
        planned(*fast, "machine=a100x2")


def test_unknown_files_and_options_are_one_line():
    with pytest.raises(ConfigError, match=r"^machine\.rates=nothing: .*choices: h200, xeon"):
        read_rates("nothing")
    with pytest.raises(ConfigError, match=r"^plan\.fallback=nothing: not an option of machine; choices: a100x1, "):
        read_option("machine", "nothing", MachineSettings, "plan.fallback")


def test_counts_that_were_kept_are_those_of_a_new_count(tmp_path):
    made = settings("layout=gpu_1p2", "layout.compile=true", "machine=h200x4")
    config = generator_config(made.model)
    first, kept = (ProfileStore(tmp_path).profile(made, config, STRATEGIES) for _ in range(2))
    machines = [planned_machine(made, profile, tables_of(made.machine)) for profile in (first, kept)]
    assert predict(made, kept, machines[1], STRATEGIES) == predict(made, first, machines[0], STRATEGIES)
    for path in tmp_path.iterdir():
        path.write_text("{")
    assert ProfileStore(tmp_path).profile(made, config, STRATEGIES).components == first.components


def test_a_deep_model_is_two_shallow_ones_continued():
    from pp1_orchestrator.planning import part_profiles
    from pp1_orchestrator.planning.inputs_outputs import requirements

    made = settings("layout=gpu_1p2", "layout.compile=true")
    config = generator_config(made.model)
    needs = requirements(made, config)
    whole = part_profiles._count_generator(made, config, needs)
    assert config.num_layers > part_profiles.MAX_COUNTED_LAYERS
    assert part_profiles.profile_mesh(made, config, needs).peaks == whole.peaks
    assert part_profiles.profile_mesh(made, config, needs).components == whole.components
    for part, counts in part_profiles.profile_mesh(made, config, needs).work.items():
        assert [(op.name, op.count) for op in counts.operations] == [
            (op.name, op.count) for op in whole.work[part].operations
        ]
        assert (counts.calls, counts.reductions) == (whole.work[part].calls, whole.work[part].reductions)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"products": {}}, "no rate of products"),
        ({"products": {"bfloat16": []}}, "no rate of products"),
        ({"convolutions": {"bfloat16": []}}, "no rate of convolutions"),
        (
            {"attention": {"flash-attn-4": {"bfloat16": [[128, 12, 4680, 32760, 700.0]]}}},
            "no rate of attention by torch",
        ),
        ({"products": {"bfloat16": [[1, 2, 3]]}}, "length 4"),
        ({"convolutions": {"bfloat16": [[1, 2, 3, 4, 5]]}}, "length 6"),
        ({"products": {"bfloat16": [[2160, 1536, 1536, 0]]}}, "> 0"),
        ({"products": {"bfloat16": [[2160, 1536, 1536, float("nan")]]}}, "> 0"),
        ({"copies": []}, "length >= 1"),
        ({"copies": [[0, 100.0]]}, ">= 1"),
        ({"peaks_tflops": {"bfloat16": 0}}, "> 0"),
        ({"launch_s": -1}, ">= 0"),
    ],
)
def test_rates_that_nothing_can_be_planned_with_are_one_line(tmp_path, changes, line):
    path = tmp_path / "rates.yaml"
    path.write_text(yaml.safe_dump(msgspec.to_builtins(read_rates("h200")) | changes), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_rates(str(path))
    text = str(refused.value)
    assert text.startswith(f"machine.rates={path}: ")
    assert line in text
    assert "\n" not in text


def test_a_machine_without_rates_of_its_host_is_one_line():
    with pytest.raises(ConfigError, match=r"^layout=gpu_1p2: machine=h200x4 has no rates of a cpu device$"):
        planned(*WIDE, "layout=gpu_1p2", *FAST, "machine.host_rates=null")


def test_every_machine_names_rates_that_can_be_read():
    made = settings()
    for name in ("h200x1", "a100x4", "l40s", "rtx5090"):
        there = read_option("machine", name, MachineSettings, "machine")
        assert tables_of(msgspec.structs.replace(made, machine=there).machine).keys() == {"cuda", "cpu"}
