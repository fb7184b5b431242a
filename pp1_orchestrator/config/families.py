"""Which models `conf/` describes, each with the settings that its weights were trained for.

A model is an option of the group `model`, or an experiment that chooses one and changes its keys.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import msgspec
from omegaconf import DictConfig, OmegaConf

from pp1_orchestrator.config.conf_files import CONF
from pp1_orchestrator.config.load_settings import describe
from pp1_orchestrator.config.schema import ModelSettings
from pp1_orchestrator.errors import ConfigError

SELF = "_self_"
CHOSEN_MODEL = re.compile(r"override /model")


class Family(msgspec.Struct, frozen=True):
    """option: what chooses it on the command line, as `model=krea_14b`. context: keys of `context` that it sets."""

    option: str
    model: ModelSettings
    context: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])

    @property
    def hub_paths(self) -> tuple[str, ...]:
        """Where its transformer and its LoRA are on the hub."""
        return tuple(path for path in (self.model.hub.generator, self.model.hub.lora) if path is not None)


@cache
def read_families(folder: Path = CONF) -> tuple[Family, ...]:
    """Every model, in the order of their names; experiments last. Raises ConfigError for a file of another form."""
    found = [Family(f"model={path.stem}", _typed(_model(path))) for path in sorted((folder / "model").glob("*.yaml"))]
    for path in sorted((folder / "experiment").glob("*.yaml")):
        own = _load(path)
        base = _chosen_model(own)
        if base is not None and "model" in own:
            merged = OmegaConf.merge(_model(folder / "model" / f"{base}.yaml"), own.model)
            context = OmegaConf.to_container(own.get("context") or OmegaConf.create())
            found.append(
                Family(f"experiment={path.stem}", _typed(cast(DictConfig, merged)), cast(dict[str, Any], context))
            )
    return tuple(found)


def _model(path: Path) -> DictConfig:
    """An option of the group, with what it takes over from the options that its defaults name."""
    own = _load(path)
    below = OmegaConf.create()
    for entry in own.pop("defaults", []):
        if isinstance(entry, str) and entry != SELF:
            below.merge_with(_model(path.with_name(f"{entry}.yaml")))
    below.merge_with(own)
    return below


def _load(path: Path) -> DictConfig:
    return cast(DictConfig, OmegaConf.load(path))


def _chosen_model(own: DictConfig) -> str | None:
    entries: Iterator[Any] = (entry for entry in own.get("defaults", []) if not isinstance(entry, str))
    chosen = (value for entry in entries for key, value in entry.items() if CHOSEN_MODEL.fullmatch(str(key)))
    return next(chosen, None)


def _typed(model: DictConfig) -> ModelSettings:
    plain = OmegaConf.to_container(model, resolve=True)
    try:
        return msgspec.convert(plain, ModelSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(describe(str(error), plain, "model")) from error
