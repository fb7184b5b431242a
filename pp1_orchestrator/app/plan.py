"""run=plan: says what would run where and how fast, without loading a weight or starting a process."""

import logging
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import msgspec
import torch
from rich.console import Console
from rich.progress import track

from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.config.machine import MachineSettings
from pp1_orchestrator.config.options import read_option
from pp1_orchestrator.config.schema import LayoutSettings, Settings
from pp1_orchestrator.errors import SECRET_KEYS, ConfigError
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.calibrate import LinkSpeed, Machine, calibrate
from pp1_orchestrator.planning.make_plan import Plan, predict, write_plan
from pp1_orchestrator.planning.op_benchmark import Batch
from pp1_orchestrator.planning.planned_machine import GPU, Tables, gpus_of, has_fp8, planned_machine, tables_of
from pp1_orchestrator.planning.profile import ModelProfile, profile_model
from pp1_orchestrator.planning.profile_store import ProfileStore
from pp1_orchestrator.planning.search import ONE_PROCESS, SPLIT, search, write_search
from pp1_orchestrator.planning.search_table import render_search
from pp1_orchestrator.planning.strategy_traits import Strategies
from pp1_orchestrator.planning.tables import render
from pp1_orchestrator.planning.this_machine import describe_here, tables_here
from pp1_orchestrator.processes.process_tuning import limit_threads, use_loopback_for_gloo
from pp1_orchestrator.processes.signals import StopRequested, on_signals
from pp1_orchestrator.transport.link_benchmark import probe_link
from pp1_orchestrator.user_paths import cache_folder

log = logging.getLogger(__name__)
COLUMNS = 100
"""Width of the output where standard output is not a terminal."""
HERE = "here"
PLANNED = ("run", "plan", "machine", "layout", "overlap", "hydra")
"""Groups of which a search's command has its own choice, or needs none."""
MESSAGE_BYTES, COMPUTE_S = 1 << 20, 1e-3


def run_plan(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    """Print the plan and write plan.json. Raises ConfigError for a model or a size that can't be run."""
    console = Console()
    console = console if console.is_terminal else Console(width=COLUMNS)
    strategies = registry.strategies
    if settings.plan.search:
        asked, tables = _machine(settings)
        layouts = {name: read_option("layout", name, LayoutSettings, "layout") for name in (ONE_PROCESS, *SPLIT)}
        predict_with, fp8 = partial(_predict, tables=tables, store=_store()), has_fp8(asked.machine, tables)
        given = other_choices(start.words)
        found = search(asked, config, strategies, layouts, predict_with, fp8=fp8, given=given)
        console.print(render_search(found, settings.plan), crop=False)
        write_search(found, out / "search.json")
        return
    plan = make_plan(settings, config, strategies)
    console.print(render(plan, strategies))
    write_plan(plan, out / "plan.json")
    log.info("see %s", out / "plan.json")


def make_plan(settings: Settings, config: WanConfig, strategies: Strategies) -> Plan:
    """Predict the run on the machine that the settings name. Raises ConfigError for what can't be planned."""
    if settings.plan.measure:
        return _measured_plan(settings, config, strategies)
    asked, tables = _machine(settings)
    return _predict(asked, config, strategies, tables=tables, store=_store())


def other_choices(words: Sequence[str]) -> list[str]:
    """Of a command line, quoted for a shell: all that a plan's command repeats, since it chooses something else."""
    kept = [word for word in words if not _is_planned(word.lstrip("+~").partition("=")[0])]
    if any(word.startswith("experiment=") for word in kept):
        kept.append("run=serve")  # an experiment may set run=bench
    return [shlex.quote(word) for word in kept]


def _is_planned(key: str) -> bool:
    return key.partition(".")[0] in PLANNED or key.startswith(SECRET_KEYS)


def _store() -> ProfileStore:
    return ProfileStore(cache_folder() / "profiles")


def _predict(
    settings: Settings, config: WanConfig, strategies: Strategies, *, tables: Tables, store: ProfileStore
) -> Plan:
    profile = store.profile(settings, config, strategies)
    return predict(settings, profile, planned_machine(settings, profile, tables), strategies)


def _machine(settings: Settings) -> tuple[Settings, Tables]:
    """The settings with a machine that has the layout's devices, and that machine's rates."""
    if settings.machine.name != HERE:
        return settings, tables_of(settings.machine)
    if missing := _missing(settings):
        fallback = settings.plan.fallback
        there = read_option("machine", fallback, MachineSettings, "plan.fallback")
        log.warning("%s: not here, so this plan is for machine=%s; machine=… plans for another one", missing, fallback)
        return msgspec.structs.replace(settings, machine=there), tables_of(there)
    kinds = {GPU} if gpus_of(settings.layout) else set[str]()
    link = _link_here("nccl", 2, MESSAGE_BYTES, COMPUTE_S, GPU) if kinds and torch.cuda.device_count() > 1 else None
    tables = tables_here(kinds, cache_folder() / "rates", partial(_link_here, "gloo", 2, MESSAGE_BYTES, COMPUTE_S))
    source = "; ".join(dict.fromkeys(table.source for table in tables.values()))
    return msgspec.structs.replace(settings, machine=describe_here(source, link)), tables


def _missing(settings: Settings) -> str:
    """The GPUs that the layout, or a search, needs and this machine lacks."""
    here = torch.cuda.device_count()
    needed = ["cuda:0"] if settings.plan.search else gpus_of(settings.layout)
    return ", ".join(name for name in needed if (torch.device(name).index or 0) >= here)


def _measured_plan(settings: Settings, config: WanConfig, strategies: Strategies) -> Plan:
    """With the model's own operations measured on this machine."""
    if settings.machine.name != HERE:
        raise ConfigError(f"plan.measure=true: machine={settings.machine.name} is elsewhere; possible: false")
    if missing := _missing(settings):
        raise ConfigError(f"plan.measure=true: {missing}: no such device here; possible: false")
    limit_threads(settings.layout.threads)
    profile = profile_model(settings, config, strategies)
    machine = _calibrate(settings, profile)
    return predict(settings, profile, machine, strategies)


def _calibrate(settings: Settings, profile: ModelProfile) -> Machine:
    """Stops between two operations if a signal asks for it: torch can't be interrupted inside one."""
    with on_signals(lambda: None) as stop:

        def watched(batches: Sequence[Batch], part: str) -> Iterator[Batch]:
            for batch in track(batches, f"measuring: {part}", console=Console(stderr=True), transient=True):
                if stop.received:
                    raise StopRequested
                yield batch

        return calibrate(settings, profile, partial(_measure_link, settings, profile), watched)


def _measure_link(settings: Settings, profile: ModelProfile, between_s: float) -> LinkSpeed:
    layout, work = settings.layout, profile.work["generator"]
    number, moved = work.reductions + work.exchanges, work.reduction_bytes + work.exchange_bytes
    largest = moved // number if number else profile.needs.latent_bytes
    ranks = max(2, layout.mesh_ranks)  # a mesh of one rank still talks to rank 0
    return _link_here(layout.backend, ranks, largest, between_s, layout.device)


def _link_here(backend: str, ranks: int, nbytes: int, work_s: float, device: str = "cpu") -> LinkSpeed:
    if backend == "gloo":
        use_loopback_for_gloo()
    found = asdict(probe_link(backend, torch.device(device), ranks, nbytes, work_s))
    return LinkSpeed(**found, sum_bytes_s=found["bytes_s"])
