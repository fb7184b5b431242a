"""From settings to a finished run: checks everything that can be checked first, then does what `run` says."""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from pp1_orchestrator.app.bench import run_bench
from pp1_orchestrator.app.check import run_check
from pp1_orchestrator.app.first_checks import check_prompt
from pp1_orchestrator.app.plan import run_plan
from pp1_orchestrator.app.resume import StreamStart, stream_start
from pp1_orchestrator.app.strategy_registry import Registry, check
from pp1_orchestrator.app.stream import check_models
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.layouts.gpu_topology import advice, topology
from pp1_orchestrator.layouts.torchrun import run_rank
from pp1_orchestrator.loading.checkpoint import check_checkpoint
from pp1_orchestrator.models.checkpoints.hub import PARTIAL_FOLDER, fetch
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.processes.environment import ignore_page_variables
from pp1_orchestrator.processes.log_setup import limit_file_errors, limit_floods, set_format
from pp1_orchestrator.transport.process_groups import STAGE0

log = logging.getLogger(__name__)
Mode = Callable[[Settings, WanConfig, Registry, StreamStart, Path], None]


def run_fetch(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    """run=fetch: download the missing parts of a model from `model.hub`. Raises ConfigError for what is not there."""
    model = settings.model
    for part, source in msgspec.structs.asdict(model.hub).items():
        place = model.folder / part  # a part elsewhere, such as model.vae=/x, is the user's own
        if source is None:
            log.info("model.hub.%s=null: nothing to get", part)
        elif place.exists():
            log.info("%s is there", place)
        else:
            log.info("getting %s", source)
            try:
                log.info("%s is there", fetch(source, place))
            except OSError as error:
                raise ConfigError(f"model.hub.{part}={source}: {error}; docs/models.md lists the files") from error
    shutil.rmtree(model.folder / PARTIAL_FOLDER, ignore_errors=True)


def _serve(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    ignore_page_variables()
    from pp1_orchestrator.app.serve import run_serve  # the web stack takes seconds to import

    run_serve(settings, config, registry, start, out)


MODES: Mapping[str, Mode] = {
    "serve": _serve, "bench": run_bench, "plan": run_plan, "fetch": run_fetch,
    "check": run_check,
}  # fmt: skip
MESHLESS_MODES = frozenset({"plan", "fetch", "check"})


def run_program(settings: Settings, out: Path, words: Sequence[str] = ()) -> None:
    """Run to the end. Raises ConfigError before a process is started, later the run's failure.

    words: of the command line. A show that is continued does not change what they set.
    """
    set_format(settings.log, rank=0)
    limit_file_errors()
    limit_floods()
    config, registry = check(settings, MODES)
    rank = registry.layout.kind.rank_here()
    if rank != STAGE0:
        if settings.run.name in MESHLESS_MODES:
            log.info("rank %d has no part in run=%s", rank, settings.run.name)
        else:
            run_rank(settings, config, rank)
        return
    if settings.run.name not in MESHLESS_MODES:
        _log_gpu_topology(settings)
    if settings.context.name != settings.model.context:
        log.warning("context=%s: the model was trained for %s", settings.context.name, settings.model.context)
    if settings.cache.name != settings.model.cache:
        log.warning("cache=%s: the model was trained for %s", settings.cache.name, settings.model.cache)
    if settings.run.name in MESHLESS_MODES:
        check_prompt(settings)
    else:
        check_inputs(settings, config, registry)
    given = {word.lstrip("+").partition("=")[0] for word in words}
    start = replace(stream_start(settings, given, out), words=tuple(words))
    MODES[settings.run.name](settings, config, registry, start, out)


def check_inputs(settings: Settings, config: WanConfig, registry: Registry) -> None:
    """Check the first prompt and the files of all models. Loads none. Raises ConfigError."""
    check_prompt(settings)
    check_checkpoint(settings, config)
    check_models(settings, config, registry)


def _log_gpu_topology(settings: Settings) -> None:
    devices = settings.layout.devices[1:]
    if settings.layout.backend != "nccl" or len(set(devices)) < 2:
        return
    found = advice(devices, topology())
    if found is not None:
        good, line = found
        log.log(logging.INFO if good else logging.WARNING, "%s", line)
