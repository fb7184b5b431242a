"""What loading any checkpoint has in common: types by name, and one clear line when it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
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
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"model.root={settings.model.root}: {reason}") from error
