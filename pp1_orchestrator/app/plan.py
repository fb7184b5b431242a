"""run=plan: says what would run where and how fast, without loading a weight or starting a process."""

import logging
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.calibrate import LinkSpeed, calibrate
from pp1_orchestrator.planning.make_plan import Plan, predict, write_plan
from pp1_orchestrator.planning.profile import ModelProfile, profile_model
from pp1_orchestrator.planning.strategy_traits import Strategies
from pp1_orchestrator.planning.tables import render
from pp1_orchestrator.processes.process_tuning import limit_threads, use_loopback_for_gloo
from pp1_orchestrator.transport.link_benchmark import probe_link

log = logging.getLogger(__name__)
COLUMNS = 100
"""Width of the output where standard output is not a terminal."""


def run_plan(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    """Print the plan and write plan.json. Raises ConfigError for a model or a size that can't be run."""
    plan = make_plan(settings, config, registry.strategies)
    console = Console()
    console = console if console.is_terminal else Console(width=COLUMNS)
    console.print(render(plan, registry.strategies))
    write_plan(plan, out / "plan.json")
    log.info("see %s", out / "plan.json")


def make_plan(settings: Settings, config: WanConfig, strategies: Strategies) -> Plan:
    """Measure this machine briefly, then predict the run on it."""
    limit_threads(settings.layout.threads)
    profile = profile_model(settings, config, strategies)
    log.info("measuring this machine for the plan; a large model without a GPU takes minutes")
    machine = calibrate(settings, profile, lambda between_s: _measure_link(settings, profile, between_s))
    return predict(settings, profile, machine, strategies)


def _measure_link(settings: Settings, profile: ModelProfile, between_s: float) -> LinkSpeed:
    layout, work = settings.layout, profile.work["generator"]
    if layout.backend == "gloo":
        use_loopback_for_gloo()
    largest = work.reduction_bytes // work.reductions if work.reductions else profile.needs.latent_bytes
    ranks = max(2, layout.mesh_ranks)  # a mesh of one rank still talks to rank 0
    return LinkSpeed(**asdict(probe_link(layout.backend, torch.device(layout.device), ranks, largest, between_s)))
