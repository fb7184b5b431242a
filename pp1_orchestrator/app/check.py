"""run=check: says what a checkpoint is, what is missing, what it expects, and how to run it. Loads no tensor.

With `check.make`, what was looked at is then loaded with the chosen model's settings, and makes some chunks.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from pp1_orchestrator.app.check_make import make_and_judge
from pp1_orchestrator.app.check_report import PARTS, by_size, first_keys, matching, report, sizes_text, wrong_keys
from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.config.schema import ModelSettings, Settings
from pp1_orchestrator.errors import ConfigError, first_line
from pp1_orchestrator.loading.scan_weights import Scanned, joined, scan
from pp1_orchestrator.models.checkpoints.recognize import GENERATOR, LORA, UNKNOWN, Recognized
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.user_paths import user_path

SHIPPED = "tiny"
FILES = (GENERATOR, LORA, *PARTS)
"""Parts of a model that are files of weights; the keys of `model` have the same names."""
Place = tuple[str, Path]
"""A key and its value."""


def run_check(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    """Say all of this. Raises ConfigError, in one line, for files that can't be run with the chosen model."""
    places = places_of(settings)
    found = joined([_scan(place, settings.model.ema) for place in places], settings.model.ema)
    if settings.check.path is None and settings.model.tokenizer is not None:
        found = replace(found, tokenizer=user_path(settings.model.tokenizer))
    key, path = places[0]
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for line in report(settings, path, found):
        console.print(line)
    if problem := _problem(settings, f"{key}={path}", found):
        raise ConfigError(problem)
    if settings.check.make:
        for line in make_and_judge(with_found(settings, path, found), registry, out):
            console.print(line)


def places_of(settings: Settings) -> Sequence[Place]:
    """What is looked at: check.path, or else the chosen model's parts, those outside of its folder first."""
    if settings.check.path is not None:
        return [("check.path", user_path(settings.check.path))]
    model = settings.model
    parts = [(f"model.{part}", user_path(own)) for part in FILES if (own := getattr(model, part)) is not None]
    elsewhere = [(key, path) for key, path in parts if not path.is_relative_to(model.folder)]
    return [*elsewhere, *([("model.root", model.folder)] if model.folder.exists() or not elsewhere else [])]


def with_found(settings: Settings, path: Path, found: Scanned) -> Settings:
    """The settings with the files that were found at `check.path` in place of the chosen model's own."""
    if settings.check.path is None:
        return settings
    places: dict[str, Any] = {one.kind: str(one.path) for one in reversed(found.files) if one.kind in FILES}
    if found.tokenizer is not None:
        places["tokenizer"] = str(found.tokenizer)
    if (path / GENERATOR).is_dir():
        lora = {LORA: places[LORA]} if LORA in places else {}
        places = {"root": str(path.absolute()), **dict.fromkeys((GENERATOR, *PARTS, "tokenizer")), **lora}
    model: ModelSettings = msgspec.structs.replace(settings.model, **places)
    return msgspec.structs.replace(settings, model=model)


def _scan(place: Place, ema: bool) -> Scanned:
    key, path = place
    try:
        return scan(path, ema)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{key}={path}: {first_line(error)}") from error


def _problem(settings: Settings, where: str, found: Scanned) -> str | None:
    if found.unreadable and found.first(GENERATOR) is None:
        return f"{where}: {found.unreadable[0]}"
    if not found.files:
        return f"{where}: no file of weights in it" + (f"; there are {first_keys(found.below)}" if found.below else "")
    if found.misplaced:
        return f"{where}: {found.misplaced[0]}"
    if all(one.kind == UNKNOWN for one in found.files):
        return f"{where}: {found.files[0].path.name}: no part of a model that can be run here"
    for one in found.files:
        if one.problem is not None:
            return f"{where}: {one.path.name}: {one.problem}"
        if wrong := wrong_keys(one):
            listed = "; ".join(f"{what}: {first_keys(keys)}" for what, keys in wrong.items())
            return f"{where}: {one.path.name}: {listed}"
    return _wrong_model(settings, where, found.first(GENERATOR))


def _wrong_model(settings: Settings, where: str, generator: Recognized | None) -> str | None:
    chosen, make = settings.model, settings.check.make
    if generator is None:
        return f"check.make={make}: {where} has no transformer to make chunks with" if make else None
    if by_size(generator.sizes) == by_size(chosen.sizes) or (chosen.name == SHIPPED and not make):
        return None  # with the default, no model was meant
    fitting = ", ".join(family.option for family in matching(generator, chosen.name)) or "a model of your own"
    return f"model={chosen.name}: {generator.path} has {sizes_text(generator.sizes)}; possible: {fitting}"
