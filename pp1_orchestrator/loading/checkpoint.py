"""Opens and checks checkpoints as settings say. Problems become one line that names the setting."""

import contextlib
from collections.abc import Generator
from pathlib import Path

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError, first_line
from pp1_orchestrator.models.checkpoints.manifest import MANIFEST, check_manifest
from pp1_orchestrator.models.checkpoints.reader import INDEX, Weights, open_safetensors, open_weights, read_index
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.load_generator import open_generator

COMPONENT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Components = dict[str, int]
"""Bytes by component."""


def check_folder(root: Path) -> None:
    """Raises ValueError for a link or an index that leads out of the folder, and for a damaged safetensors header."""
    inside = root.resolve()
    for path in sorted(root.rglob("*")):
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{path} is a link out of the folder; copy what it points to")
        if path.name.endswith(INDEX):
            read_index(path)
        elif path.suffix == ".safetensors" and path.is_file():
            open_safetensors(path)


@contextlib.contextmanager
def as_config_error(settings: Settings) -> Generator[None]:
    """Checks the model's folder, then turns the errors of reading a checkpoint into ConfigError."""
    try:
        check_folder(settings.model.folder)
        yield
    except FileNotFoundError as error:
        raise ConfigError(f"model.root={settings.model.root}: {error}; docs/models.md lists the files") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"model.root={settings.model.root}: {first_line(error)}") from error


def check_part(path: Path, settings: Settings) -> None:
    """Compares one of rank 0's models with its manifest, if it has one. Raises OSError and ValueError."""
    weights = open_weights(path).path
    if (weights.parent / MANIFEST).is_file():
        check_manifest(weights, settings.model.verify)


def open_checkpoint(settings: Settings, config: WanConfig) -> Weights:
    """The generator's weights, checked but not read. Raises OSError and ValueError."""
    model = settings.model
    lora = None if model.lora is None else Path(model.lora)
    weights = open_generator(model.part("generator"), config, model.ema, lora, model.lora_alpha)
    check_manifest(weights.path, digests=False)
    return weights


def check_checkpoint(settings: Settings, config: WanConfig) -> None:
    """Checks the generator's weights without using a device. Raises ConfigError."""
    if settings.model.weights == "checkpoint":
        with as_config_error(settings):
            check_manifest(open_checkpoint(settings, config).path, settings.model.verify)
