"""What `--help` says of groups, options and keys: values as composed, meanings from the comments of `conf/`."""

from collections.abc import Iterator
from typing import Any

from msgspec import inspect
from omegaconf import DictConfig, ListConfig, OmegaConf

from pp1_orchestrator.config.conf_files import CONF, ConfFile, about, defaults, option_files, read
from pp1_orchestrator.config.schema import Settings

KEY_COLUMNS = 41
OF_PLUGINS = {
    "class": "of an option of your own: its class, as package.module:Class",
    "options": "the settings of that class",
}
"""What keys mean that no file of `conf/` has."""


def help_text(composed: DictConfig) -> str:
    """All groups with their options, and all keys with their values. `$` is doubled, as a template needs it."""
    lines = ["== Configuration groups ==", "Choose with group=option. * is what this command line has."]
    for group, entry in defaults().items():
        chosen = _value(composed, f"{group}.name", "")
        lines += ["", f"{group}: {entry.comment}", *_options(group, chosen)]
    lines += ["", "== Keys ==", "Set with key=value. The values are those of this command line."]
    previous = ""
    for key, meaning in meanings(composed):
        group, value = key.partition(".")[0], _value(composed, key, None)
        lines += [""] if group != previous else []
        lines.append(f"  {key if value is None else f'{key}={value}':<{KEY_COLUMNS}}  {meaning}".rstrip())
        previous = group
    return "\n".join(lines).replace("$", "$$")


def meanings(composed: DictConfig) -> Iterator[tuple[str, str]]:
    """Every key of the settings in their order, with what it means."""
    groups = {group: _files(group, _value(composed, f"{group}.name", "")) for group in defaults()}
    general = [read(CONF / "config.yaml")]
    for key in _leaves("", inspect.type_info(Settings)):
        group, _, rest = key.partition(".")
        if rest == "name" and group in groups:
            continue
        found, inner = (groups[group], rest) if group in groups else (general, key)
        comments = (file.entries[inner].comment for file in found if inner in file.entries)
        yield key, next(filter(None, comments), "") or OF_PLUGINS.get(inner, "")


def _options(group: str, chosen: str) -> Iterator[str]:
    texts = {path.stem: about(path) for path in option_files(group)}
    texts |= {} if chosen in texts or not chosen else {chosen: "of a folder of your own"}
    width = max(map(len, texts))
    for option, text in texts.items():
        yield f"  {'*' if option == chosen else ' '} {group}={option:<{width}}  {text}".rstrip()


def _files(group: str, chosen: str) -> list[ConfFile]:
    """Of a group, the chosen option's first: it may say best what a key means."""
    paths = sorted(option_files(group), key=lambda path: (path.stem != chosen, path.stem))
    return [read(path) for path in paths]


def _leaves(prefix: str, kind: inspect.Type) -> Iterator[str]:
    if not isinstance(kind, inspect.StructType):
        yield prefix
        return
    for field in kind.fields:
        yield from _leaves(f"{prefix}.{field.encode_name}" if prefix else field.encode_name, field.type)


def _value(composed: DictConfig, key: str, default: str | None) -> Any:
    """As it would be written; `default` for a key that was not composed."""
    select: Any = OmegaConf.select
    found = select(composed, key, default=OmegaConf)
    return default if found is OmegaConf else _written(found)


def _written(value: Any) -> str:
    if isinstance(value, ListConfig):
        items: Any = value
        return f"[{', '.join(_written(item) for item in items)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
