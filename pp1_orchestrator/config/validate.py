"""Rules that join several settings: one small function each, all run before a process is started."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec
import torch

from pp1_orchestrator.config.schema import ModelSettings, Settings
from pp1_orchestrator.contract.envelope import SIZE_MULTIPLE
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.config import WanConfig, read_config
from pp1_orchestrator.models.wan.parallelize import check_degree
from pp1_orchestrator.models.wan.schedule import FlowSchedule, NoiseStep


def check_size(key: str, value: int) -> None:
    """Raise ConfigError for a height or width that the model can't make."""
    if value % SIZE_MULTIPLE:
        lower = value // SIZE_MULTIPLE * SIZE_MULTIPLE
        near = f"{lower} or {lower + SIZE_MULTIPLE}" if lower else str(SIZE_MULTIPLE)
        raise ConfigError(f"{key}={value}: must be a multiple of {SIZE_MULTIPLE}, such as {near}")


def check_steps(model: ModelSettings) -> list[NoiseStep]:
    """The denoising steps. Raises ConfigError for a schedule that can't be run."""
    try:
        return FlowSchedule(model.shift, model.warp).steps(model.steps)
    except ValueError as error:
        raise ConfigError(f"model.steps={list(model.steps)}: {error}") from error


def _size(settings: Settings, config: WanConfig) -> None:
    check_size("stream.height", settings.stream.height)
    check_size("stream.width", settings.stream.width)


def _tensor_parallel(settings: Settings, config: WanConfig) -> None:
    try:
        check_degree(config, settings.layout.mesh_ranks)
    except ValueError as error:
        raise ConfigError(f"layout.mesh_ranks={settings.layout.mesh_ranks}: {error}") from error


def _steps(settings: Settings, config: WanConfig) -> None:
    check_steps(settings.model)


def _deadlines(settings: Settings, config: WanConfig) -> None:
    answer, message = settings.deadlines.answer, settings.deadlines.message
    if answer > message:
        raise ConfigError(f"deadlines.answer={answer:g}: no wait lasts longer than deadlines.message={message:g}")


def _bench_ends(settings: Settings, config: WanConfig) -> None:
    if settings.run.name == "bench" and settings.run.chunks is None:
        raise ConfigError("run.chunks=null: a bench needs a number of chunks")


def _one_process(settings: Settings, config: WanConfig) -> None:
    layout = settings.layout
    if layout.backend == "none" and layout.mesh_ranks != 1:
        raise ConfigError(f"layout.mesh_ranks={layout.mesh_ranks}: layout={layout.name} is one process; possible: 1")


def _compiled(settings: Settings, config: WanConfig) -> None:
    layout = settings.layout
    if layout.compile and layout.mesh_ranks != 1:
        raise ConfigError(
            f"layout.compile=true: not with blocks that are split over layout.mesh_ranks={layout.mesh_ranks}; "
            "possible: false"
        )


def _device(settings: Settings, config: WanConfig) -> None:
    name = settings.layout.device
    here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name not in here and not (name == "cuda" and len(here) > 1):
        raise ConfigError(f"layout.device={name}: no such device here; choices: {', '.join(here)}")


_RULES: tuple[Callable[[Settings, WanConfig], None], ...] = (
    _size,
    _tensor_parallel,
    _steps,
    _deadlines,
    _bench_ends,
    _one_process,
    _compiled,
    _device,
)


def _read_model(settings: Settings) -> WanConfig:
    folder = settings.model.folder / "generator"
    try:
        return read_config(folder)
    except OSError as error:
        raise ConfigError(f"model.root={settings.model.root}: no generator/config.json in {folder.parent}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"model.root={settings.model.root}: {folder}/config.json: {error}") from error


def validate(settings: Settings, known: Mapping[str, Collection[str]]) -> WanConfig:
    """Check all rules; return the generator's sizes. known: the options that are built in, by group.

    Raises ConfigError with one line.
    """
    for group, names in known.items():
        name = getattr(settings, group).name
        if name not in names:
            raise ConfigError(f"{group}={name}: not built in; choices: {', '.join(sorted(names))}")
    config = _read_model(settings)
    for rule in _RULES:
        rule(settings, config)
    return config
