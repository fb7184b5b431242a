"""run=serve: stream to viewers until stopped."""

from __future__ import annotations

from pathlib import Path

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.stage0.script import Script


def run_serve(settings: Settings, config: WanConfig, script: Script, out: Path) -> None:
    raise ConfigError("run=serve: not built in yet")
