"""The transformer's sizes from settings. Opens no file of weights."""

from __future__ import annotations

import msgspec

from pp1_orchestrator.config.schema import ModelSettings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.config import WanConfig


def generator_config(model: ModelSettings) -> WanConfig:
    """What `conf/` says. Raises ConfigError when a config.json beside the weights says something else."""
    window = model.window
    sizes = msgspec.structs.asdict(model.sizes)
    config = WanConfig(**sizes, chunk_frames=window.chunk, local_attn_size=window.frames, sink_frames=window.sink)
    _compare(model, sizes)
    return config


def _compare(model: ModelSettings, sizes: dict[str, int]) -> None:
    path = model.part("generator")
    path = (path if path.is_dir() else path.parent) / "config.json"
    if model.weights != "checkpoint" or not path.is_file():
        return
    try:
        beside = msgspec.json.decode(path.read_bytes(), type=dict)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    for key, value in sizes.items():
        if beside.get(key, value) != value:
            raise ConfigError(f"model.sizes.{key}={value}: {path} says {beside[key]}")
