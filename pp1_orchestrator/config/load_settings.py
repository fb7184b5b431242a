"""From Hydra's composed configuration to `Settings`, and its errors as one line.

The only place that knows OmegaConf.
"""

import re
from typing import Any

import msgspec
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.suggest import all_keys, did_you_mean, keys_below
from pp1_orchestrator.errors import SECRET_KEYS, ConfigError, first_line


def _less_one(number: int | str) -> int:
    return int(number) - 1


OmegaConf.register_new_resolver("less_one", _less_one, replace=True)

HYDRA_KEYS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
"""Those that a user may set."""
UNREADABLE = "can't be read as key=value; quote a value with special characters twice: \"key='a, b!'\""


def load_settings(composed: DictConfig) -> Settings:
    """Typed settings. Raises ConfigError with one line naming the key, its value and what is expected."""
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from error
    try:
        return msgspec.convert(plain, Settings)
    except msgspec.ValidationError as error:
        raise ConfigError(describe(str(error), plain)) from error


def describe(text: str, plain: Any, prefix: str = "") -> str:
    """Turn msgspec's "Expected … - at `$.a.b`" into "a.b=value: expected …". prefix: the key of all that was read."""
    match = re.fullmatch(r"(?s)(.*?)(?: - at `\$\.?(.*)`)?", text)
    assert match is not None
    problem, path = match.group(1), match.group(2) or ""
    problem = problem[:1].lower() + problem[1:]
    if not prefix and (unknown := re.fullmatch(r"object contains unknown field `(.*)`", problem)):
        return _no_such_key(".".join(filter(None, [path, unknown[1]])))
    if missing := re.fullmatch(r"object missing required field `(.*)`", problem):
        key = ".".join(filter(None, [prefix, path, missing[1]]))
        why = "" if prefix else "; every group has an option, and every key a value"
        return f"{key}: can't be left out{why}"
    if not path and not prefix:
        return problem
    value: dict[str, Any] | list[Any] | None = plain
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)]
    path = ".".join(filter(None, [prefix, path]))
    if re.match(r"expected `str.*, got `(int|float|bool)`", problem):
        return f"{path}: {problem}; quote text that looks like a number or a truth value: \"{path}='…'\""
    return f"{path}: {problem}" if path.startswith(SECRET_KEYS) else f"{path}={value}: {problem}"


def one_line(error: BaseException) -> str:
    """An error of the configuration or of a run as one line."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        near = did_you_mean(option, error.options)
        return f"{group}={option}: not an option; choices: {', '.join(error.options)}{near}"
    if isinstance(error, OverrideParseException):
        given = " ".join((error.override or "").split())
        if given.lstrip("+~").startswith(SECRET_KEYS):
            given = f"{given.partition('=')[0]}=…"
        return f"{given}: {UNREADABLE if '=' in given else 'not a setting; expected key=value, such as run=bench'}"
    text = " ".join(part.strip() for part in str(error).splitlines() if part.strip())
    if several := re.match(r"Ambiguous value for argument '([^=]*)=.*' 1\. ", text):
        return f"{several[1]}: quote a text with commas twice: \"key='a, b'\"; to try several values, add -m"
    if unknown := re.match(r"Could not (?:override|delete from config\.) '(.+?)'", text):
        return _no_such_key(unknown[1])
    if merged := re.match(r"Error merging override ([^=]*)=(.*)", text):
        value = "…" if merged[1].lstrip("+~").startswith(SECRET_KEYS) else merged[2]
        return f"{merged[1]}={value}: not the kind of value that this key has: a list, an object or a single value"
    if twice := re.match(r"(\S+) appears more than once in the final defaults list", text):
        return f"+{twice[1]}=…: the group has an option already; to choose another one: {twice[1]}=…"
    return text


def _no_such_key(key: str) -> str:
    parent, _, last = key.rpartition(".")
    if siblings := keys_below(parent):
        near = did_you_mean(last, siblings, f"{parent}.") or f"; {parent} has {', '.join(siblings)}"
    else:
        near = did_you_mean(key, [*all_keys(), *HYDRA_KEYS])
    return f"{key}: no such key{near or '; `--cfg job` lists all of them'}"
