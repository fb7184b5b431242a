"""Keeps counted parts of models: in this process, and in the cache folder of the user for the next one.

A file's name is a digest of all that the counts depend on: settings, sizes, versions, and this package's own code.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import msgspec
import torch

from pp1_orchestrator.config.schema import ClassSettings, Settings
from pp1_orchestrator.loading.sources import text_source, vae_source
from pp1_orchestrator.models.checkpoints.reader import config_folder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.planning.inputs_outputs import Requirements, requirements
from pp1_orchestrator.planning.op_counter import OpCounts
from pp1_orchestrator.planning.part_profiles import (
    Part,
    PartProfile,
    check_exists,
    is_fused,
    profile_mesh,
    profile_text,
    profile_vae,
)
from pp1_orchestrator.planning.profile import ModelProfile, join_parts
from pp1_orchestrator.planning.strategy_traits import Strategies

PACKAGE = Path(__file__).parents[1]
CODE = ("models", "planning")
"""What counts depend on of this package."""
log = logging.getLogger(__name__)


class ProfileStore:
    """Profiles whose parts are counted once. folder: None to keep them in this process alone."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._parts: dict[str, PartProfile] = {}

    def profile(self, settings: Settings, config: WanConfig, strategies: Strategies) -> ModelProfile:
        """As `profile_model`, without calls that could be made again."""
        needs, layout, dtype = requirements(settings, config), settings.layout, settings.model.dtype
        on_gpu = layout.device.startswith("cuda")
        fused = is_fused(settings) and (True, layout.fp8)
        split = layout.mesh_ranks > 1 and (settings.parallel, layout.shard)
        mesh = self._part(
            ("mesh", config, needs, dtype, layout.mesh_ranks, split, fused, settings.context.rope, settings.cache),
            lambda: profile_mesh(settings, config, needs),
        )
        check_exists(settings, vae_source(settings).path)
        check_exists(settings, text_source(settings).weights)
        vae_of = ("vae", settings.stage0, _config_json(vae_source(settings).path), settings.model.weights, needs, dtype)
        how = strategies.context(settings).needs_pixels, on_gpu, on_gpu and layout.compile, settings.source.active
        stage0 = self._part((*vae_of, *how), lambda: profile_vae(settings, strategies, needs), own=settings.stage0)
        text = self._text(settings, needs)
        return join_parts(needs, mesh, stage0, text)

    def _text(self, settings: Settings, needs: Requirements) -> PartProfile:
        described = _config_json(text_source(settings).weights)
        key = ("text", settings.text_encoder, described, settings.model.weights, needs.text, settings.model.dtype)
        return self._part(key, lambda: profile_text(settings, needs))

    def _part(
        self, key: tuple[object, ...], count: Callable[[], PartProfile], own: ClassSettings | None = None
    ) -> PartProfile:
        """own: an option that may stand for a plug-in's class, whose code may change between two plans."""
        if own is not None and own.class_path is not None:
            return count()
        name = hashlib.sha256(repr((*key, torch.__version__, _code_digest())).encode()).hexdigest()[:32]
        if name not in self._parts:
            self._parts[name] = self._read(name) or self._write(name, count())
        return self._parts[name]

    def _read(self, name: str) -> PartProfile | None:
        path = self._path(name)
        if path is None or not path.is_file():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=PartProfile)
        except (OSError, msgspec.DecodeError) as error:
            log.info("%s: %s; counting anew", path, error)
            return None

    def _write(self, name: str, part: PartProfile) -> PartProfile:
        path = self._path(name)
        if path is not None:
            partial = path.with_suffix(f".{os.getpid()}")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(msgspec.json.encode(_without_calls(part)))
                partial.replace(path)
            except OSError as error:
                log.info("%s: %s; the next plan counts anew", path, error)
        return part

    def _path(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{name}.json"


def _config_json(weights: Path) -> bytes:
    """The sizes beside some weights, which come before those of the settings."""
    folder = config_folder(weights)
    return b"" if folder is None else (folder / "config.json").read_bytes()


@cache
def _code_digest() -> str:
    """Of the files that could change a count."""
    paths = sorted(path for part in CODE for path in (PACKAGE / part).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _without_calls(part: PartProfile) -> PartProfile:
    """Counts without what could be run again, which no file holds."""
    work: dict[Part, OpCounts] = {
        name: replace(counts, operations=[replace(op, call=None) for op in counts.operations])
        for name, counts in part.work.items()
    }
    return replace(part, work=work)
