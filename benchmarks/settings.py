"""The program's settings without Hydra, which a GPU machine may lack: the files of `conf/`, then keys by name."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pp1_orchestrator.config.schema import Settings

CONF = Path(__file__).parents[1] / "conf"
REFERENCE = re.compile(r"\$\{(\.?)([a-z_.0-9]+)\}")
SHIPPED = "tiny"


def settings_of(words: Sequence[str], fixed: Mapping[str, Any]) -> Settings:
    """words: `group=option` and `key=value`, as on the command line; fixed: further keys.

    The context is the model's own unless it is named, and any model but the shipped one has random weights.
    Raises ValueError for a word that is neither, msgspec.ValidationError for a value that is not allowed.
    """
    config = yaml.safe_load((CONF / "config.yaml").read_text())
    groups = _groups(config.pop("defaults")) | {"layout": "inline", "run": "bench"}
    config.pop("hydra")
    asked = dict(word.split("=", 1) for word in words)
    groups |= {key: asked.pop(key) for key in list(asked) if key in groups}
    plain: dict[str, Any] = config | {group: _read(f"{group}/{option}.yaml") for group, option in groups.items()}
    if not any(word.startswith("context=") for word in words):
        plain["context"] = _read(f"context/{plain['model']['context']}.yaml")
    if groups["model"] != SHIPPED:
        plain["model"]["weights"] = "random"
    for key, value in ({key: yaml.safe_load(text) for key, text in asked.items()} | dict(fixed)).items():
        _put(plain, key, value)
    return msgspec.convert(_resolved(plain, plain, plain), Settings)


def _groups(defaults: Sequence[Any]) -> dict[str, str]:
    """The option of every group that has one."""
    pairs = (pair for entry in defaults if isinstance(entry, dict) for pair in entry.items())
    return {group: option for group, option in pairs if option is not None and " " not in group}


def _read(path: str) -> dict[str, Any]:
    """One option's keys, upon those of the option that it is built on. Its choices of other groups are not followed."""
    own = yaml.safe_load((CONF / path).read_text())
    read: dict[str, Any] = {}
    for entry in own.pop("defaults", ()):
        if isinstance(entry, str) and entry != "_self_":
            read = _merged(read, _read(f"{path.partition('/')[0]}/{entry}.yaml"))
    return _merged(read, own)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Of both, key by key; `over` decides."""
    both = {key: _merged(under[key], over[key]) for key in under if isinstance(over.get(key), dict)}
    return {**under, **over, **both}


def _put(plain: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    for name in path:
        plain = plain[name]
    if last not in plain:
        raise ValueError(f"{key}: no such key")
    plain[last] = value


def _resolved(value: Any, parent: Any, root: Any) -> Any:
    """With `${key}` and `${.key}` replaced by what they name."""
    if isinstance(value, dict):
        return {key: _resolved(inner, value, root) for key, inner in value.items()}
    match = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    found = parent if match[1] else root
    for name in match[2].split("."):
        found = found[name]
    return _resolved(found, parent, root)
