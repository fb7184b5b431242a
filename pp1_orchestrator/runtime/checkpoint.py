"""What loading any checkpoint has in common: types by name, and one clear line when it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError, first_line
from pp1_orchestrator.models.checkpoints.files import Weights, open_weights
from pp1_orchestrator.models.checkpoints.generator import open_generator
from pp1_orchestrator.models.checkpoints.manifest import NAME as MANIFEST
from pp1_orchestrator.models.checkpoints.manifest import check_manifest
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.weights_folder import check_folder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Components = dict[str, int]
"""Bytes by component."""


@contextlib.contextmanager
def as_config_error(settings: Settings) -> Iterator[None]:
    """A checkpoint that can't be read, or must not be, is a setting that can't be met."""
    try:
        check_folder(settings.model.folder)
        yield
    except FileNotFoundError as error:
        raise ConfigError(f"model.root={settings.model.root}: {error}; docs/models.md says what lies where") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.root={settings.model.root}: {first_line(error)}") from error


def check_part(path: Path, settings: Settings) -> None:
    """One of rank 0's parts against its manifest, where it has one. Raises OSError and ValueError."""
    weights = open_weights(path).path
    if (weights.parent / MANIFEST).is_file():
        check_manifest(weights, settings.model.verify)


def open_checkpoint(settings: Settings, config: WanConfig) -> Weights:
    """The transformer's weights, known to be the right ones and not read yet. Raises OSError and ValueError."""
    model = settings.model
    lora = None if model.lora is None else Path(model.lora)
    weights = open_generator(model.part("generator"), config, model.ema, lora, model.lora_alpha)
    check_manifest(weights.path, digests=False)
    return weights


def check_checkpoint(settings: Settings, config: WanConfig) -> None:
    """What can be known of the transformer's weights before a device is touched. Raises ConfigError."""
    if settings.model.weights == "checkpoint":
        with as_config_error(settings):
            check_manifest(open_checkpoint(settings, config).path, settings.model.verify)
