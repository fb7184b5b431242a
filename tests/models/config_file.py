"""The sizes that stand beside a generator's weights."""

from pathlib import Path

import msgspec

from pp1_orchestrator.models.wan.config import WanConfig


def read_config(folder: Path) -> WanConfig:
    """Of `config.json`; unknown keys are ignored."""
    return msgspec.json.decode((folder / "config.json").read_bytes(), type=WanConfig)
