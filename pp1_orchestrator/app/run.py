"""run=fetch: get the parts of a model that are not there yet from where `model.hub` says. Starts nothing else.

From settings to a finished run: check everything that can be checked, then do what `run` says.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pp1_orchestrator.app.bench import run_bench
from pp1_orchestrator.app.plan import run_plan
from pp1_orchestrator.app.serve import run_serve
from pp1_orchestrator.app.strategy_registry import LAYOUTS, check
from pp1_orchestrator.app.stream import check_parts
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.layouts.gpu_topology import advice, topology
from pp1_orchestrator.layouts.torchrun import run_rank
from pp1_orchestrator.models.checkpoints.hub import PARTIAL_FOLDER, fetch
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.log_setup import spare_errors, use_format
from pp1_orchestrator.stage0.timeline import Script, read_script
from pp1_orchestrator.transport.process_groups import STAGE0

log = logging.getLogger(__name__)


def run_fetch(settings: Settings, config: WanConfig, script: Script, out: Path) -> None:
    """Raises ConfigError with one line for what can't be had."""
    model = settings.model
    for part, source in msgspec.structs.asdict(model.hub).items():
        place = model.folder / part  # a part that lies elsewhere is somebody's own
        if source is None:
            log.info("model.hub.%s=null: nothing to get", part)
        elif place.exists():
            log.info("%s is there", place)
        else:
            log.info("getting %s", source)
            try:
                log.info("%s is there", fetch(source, place))
            except OSError as error:
                raise ConfigError(f"model.hub.{part}={source}: {error}; docs/models.md says what lies where") from error
    shutil.rmtree(model.folder / PARTIAL_FOLDER, ignore_errors=True)


Mode = Callable[[Settings, WanConfig, Script, Path], None]
MODES: Mapping[str, Mode] = {"serve": run_serve, "bench": run_bench, "plan": run_plan, "fetch": run_fetch}

ALONE = frozenset({"plan", "fetch"})
"""What rank 0 does without a mesh: ranks that torchrun has started beside it have nothing to wait for."""


def run_program(settings: Settings, out: Path) -> None:
    """Raises ConfigError before a process is started, or the run's failure."""
    use_format(settings.log, rank=0)
    spare_errors()
    config = check(settings, MODES)
    rank = LAYOUTS[settings.layout.name].rank_here()
    if rank != STAGE0 and settings.run.name in ALONE:
        log.info("rank %d has no part in run=%s", rank, settings.run.name)
        return
    if rank != STAGE0:
        run_rank(settings, config, rank)
        return
    _advise(settings)
    if settings.context.name != settings.model.context:
        log.warning("context=%s: the model was trained for %s", settings.context.name, settings.model.context)
    if settings.run.name not in ALONE:
        check_parts(settings, config)
    script: Script = [] if settings.run.script is None else read_script(Path(settings.run.script))
    MODES[settings.run.name](settings, config, script, out)


def _advise(settings: Settings) -> None:
    """Say what joins the mesh's GPUs, where that matters and is known."""
    devices = settings.layout.devices[1:]
    if settings.layout.backend != "nccl" or len(set(devices)) < 2:
        return
    said = advice(devices, topology())
    if said is not None:
        good, line = said
        log.log(logging.INFO if good else logging.WARNING, "%s", line)
