"""run=fetch: get the parts of a model that are not there yet from where `model.hub` says. Starts nothing else."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import msgspec

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.checkpoints.hub import LOADING, fetch
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.stage0.script import Script

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
    shutil.rmtree(model.folder / LOADING, ignore_errors=True)
