"""What loading any checkpoint has in common: types by name, and one clear line when it fails.

Whether a checkpoint's folder holds what may be opened: its own files, weights as safetensors. Loads none.

What loading takes, part by part: seconds until a part can be used, and the bytes that it holds.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError, first_line
from pp1_orchestrator.models.checkpoints.manifest import NAME as MANIFEST
from pp1_orchestrator.models.checkpoints.manifest import check_manifest
from pp1_orchestrator.models.checkpoints.reader import INDEX, Weights, open_safetensors, open_weights, read_index
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.load_generator import open_generator


def check_folder(root: Path) -> None:
    """Raises ValueError for a link that leads out of the folder, an index that does, and weights that are none.

    Headers alone are read, and a truncated file is known by them.
    """
    inside = root.resolve()
    for path in sorted(root.rglob("*")):
        if not path.resolve().is_relative_to(inside):
            raise ValueError(f"{path} is a link out of the folder; copy what it points to")
        if path.name.endswith(INDEX):
            read_index(path)
        elif path.suffix == ".safetensors" and path.is_file():
            open_safetensors(path)


COMPONENT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
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


log = logging.getLogger(__name__)


class LoadPhases:
    """One rank's parts, in the order in which they were loaded."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.components: Components = {}

    @contextlib.contextmanager
    def phase(self, name: str, device: torch.device) -> Iterator[Components]:
        """Time the loading of one part; the bytes of its components are written into what it yields."""
        start, parts = time.monotonic(), Components()
        yield parts
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds[name] = time.monotonic() - start
        self.components |= parts
        held = ", ".join(f"{component} {nbytes / 1e6:.1f} MB" for component, nbytes in parts.items())
        log.info("%s: loaded in %.1f s (%s)", name, self.seconds[name], held)
