"""Single options of `conf/`, read without composing a whole configuration: for plans that compare several."""

from typing import TypeVar

import msgspec
from omegaconf import OmegaConf

from pp1_orchestrator.config.conf_files import option_files
from pp1_orchestrator.config.load_settings import describe
from pp1_orchestrator.errors import ConfigError

Option = TypeVar("Option")


def read_option(group: str, name: str, kind: type[Option], key: str) -> Option:
    """One option's settings. Raises ConfigError that names `key` where there is none, or it has other keys."""
    known = {path.stem: path for path in option_files(group)}
    if name not in known:
        raise ConfigError(f"{key}={name}: not an option of {group}; choices: {', '.join(known)}")
    plain = OmegaConf.to_container(OmegaConf.load(known[name]), resolve=True)
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(describe(str(error), plain, group)) from error
