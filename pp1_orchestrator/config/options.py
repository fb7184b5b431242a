"""Single options of `conf/`, read without composing a whole configuration: for plans that compare several."""

from pathlib import Path
from typing import TypeVar

import msgspec
from omegaconf import OmegaConf

from pp1_orchestrator.config.load_settings import describe
from pp1_orchestrator.errors import ConfigError

CONF = Path(__file__).parents[1] / "conf"
Option = TypeVar("Option")


def read_option(group: str, name: str, kind: type[Option], key: str) -> Option:
    """One option's settings. Raises ConfigError that names `key` where there is none, or it has other keys."""
    folder = CONF / group
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"{key}={name}: not an option of {group}; choices: {', '.join(known)}")
    plain = OmegaConf.to_container(OmegaConf.load(folder / f"{name}.yaml"), resolve=True)
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(describe(str(error), plain, group)) from error
