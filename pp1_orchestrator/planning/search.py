"""Which layouts of a machine make enough frames a second, and which of them needs the fewest GPUs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from pp1_orchestrator.config.schema import LayoutSettings, Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.config import WanConfig, check_degree
from pp1_orchestrator.planning.make_plan import Plan
from pp1_orchestrator.planning.memory_plan import shares_gpu
from pp1_orchestrator.planning.planned_machine import gpus_of
from pp1_orchestrator.planning.strategy_traits import Strategies

ONE_PROCESS = "inline"
SPLIT = ("gpu_1p1", "gpu_1p2", "gpu_1p4")
"""Rank 0 on a GPU, and a mesh on others."""
BESIDE = "cuda:{index}"
"""The mesh's devices where rank 0 shares the first one."""
Layouts = Mapping[str, LayoutSettings]
Predict = Callable[[Settings, WanConfig, Strategies], Plan]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run. options: what to say on the command line. overlaps: all with these times; the options have the
    first. memory: the most on one of the GPUs. spare: the least on any of them; below 0, it does not fit.
    """

    options: list[str]
    layout: str
    beside: bool
    gpus: int
    fp8: bool
    overlaps: list[str]
    period_ms: float
    fps: float
    latency_ms: float
    memory: int
    spare: int
    limited_by: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """search.json. given: what else to say on the command line, as it was said. candidates: the recommended first;
    first those that fit and are fast enough."""

    machine: str
    source: str
    model: str
    target_fps: float
    given: list[str]
    candidates: list[Candidate]

    @property
    def enough(self) -> list[Candidate]:
        """That fit and meet the target."""
        return [one for one in self.candidates if one.spare >= 0 and one.fps >= self.target_fps]


def search(
    settings: Settings,
    config: WanConfig,
    strategies: Strategies,
    layouts: Layouts,
    predict: Predict,
    *,
    fp8: bool,
    given: Sequence[str] = (),
) -> Found:
    """Predict every layout with every overlap. Raises ConfigError for a machine without GPUs.

    layouts: by name. fp8: whether the GPUs have 8-bit floats. given: see `Found`.
    """
    machine, asked = settings.machine, settings.plan
    gpus = min(machine.gpus or 0, asked.gpus or machine.gpus or 0)
    if not gpus:
        raise ConfigError(f"plan.search=true: machine={machine.name} has no GPU; choose another machine=…")
    found: list[Candidate] = []
    for options, layout in _layouts(config, layouts, fp8):
        if len(gpus_of(layout)) <= gpus:
            plan = predict(msgspec.structs.replace(settings, layout=layout), config, strategies)
            found += _candidates(options, layout, plan)
    target = asked.target_fps
    found.sort(key=lambda one: (one.spare < 0 or one.fps < target, one.spare < 0, one.gpus, one.fp8, one.period_ms))
    return Found(
        machine=machine.name,
        source=machine.source,
        model=settings.model.name,
        target_fps=target,
        given=list(given),
        candidates=found,
    )


def write_search(found: Found, path: Path) -> None:
    """Write the file, indented for people."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def _candidates(options: list[str], layout: LayoutSettings, plan: Plan) -> Iterator[Candidate]:
    alike: dict[tuple[float, float], list[str]] = {}
    for overlap, period in plan.predicted_period_ms.items():
        alike.setdefault((period, plan.prompt_to_pixels[overlap].ms), []).append(overlap)
    for (period, latency), overlaps in alike.items():
        yield Candidate(
            options=[*options, f"overlap={overlaps[0]}"],
            layout=layout.name,
            beside=shares_gpu(layout),
            gpus=len(gpus_of(layout)),
            fp8=layout.fp8,
            overlaps=overlaps,
            period_ms=period,
            fps=1e3 * plan.requirements.chunk_pixel_frames / period,
            latency_ms=latency,
            memory=max(need.needed for need in plan.devices),
            spare=min(need.spare for need in plan.devices),
            limited_by=plan.limited_by,
        )


def _layouts(config: WanConfig, layouts: Layouts, fp8: bool) -> Iterator[tuple[list[str], LayoutSettings]]:
    """The layouts on GPUs, with rank 0 on one of its own or beside the first mesh rank."""
    inline = layouts[ONE_PROCESS]
    yield from _compiled(
        [f"layout={ONE_PROCESS}", "layout.device=cuda"],
        msgspec.structs.replace(inline, device="cuda", mesh_device="cuda"),
        fp8,
    )
    for name in SPLIT:
        layout = layouts[name]
        try:
            check_degree(config, layout.mesh_ranks)
        except ValueError:
            continue  # this model can't be split into so many parts
        yield from _compiled([f"layout={name}"], layout, fp8)
        if layout.mesh_ranks > 1:
            beside = msgspec.structs.replace(layout, mesh_device=BESIDE)
            yield from _compiled([f"layout={name}", f"\"layout.mesh_device='{BESIDE}'\""], beside, fp8)


def _compiled(options: list[str], layout: LayoutSettings, fp8: bool) -> Iterator[tuple[list[str], LayoutSettings]]:
    """In the model's type and in 8 bits. On a GPU compiled passes are the faster ones everywhere."""
    compiled = [*options, "layout.compile=true"]
    yield compiled, msgspec.structs.replace(layout, compile=True)
    if fp8:
        yield [*compiled, "layout.fp8=true"], msgspec.structs.replace(layout, compile=True, fp8=True)
