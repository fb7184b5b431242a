"""Writes docs/configuration.md: `python -m scripts.config_reference`.

Types, bounds and choices come from the schema, defaults and meanings from `conf/`; nothing is said here alone.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import inspect

from pp1_orchestrator.config.conf_files import CONF, ConfFile, defaults, options, read
from pp1_orchestrator.config.schema import Settings
from scripts.markdown import row

TARGET = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
HEAD = """# Configuration

Every setting, with its type and bounds, its default and its meaning. Set any of them on the command line:
`python -m pp1_orchestrator run=bench overlap=sync seed=7`; `--cfg job` shows the result.
An option of a group sets all keys of the group, and single keys override it:
`overlap=stage0_owned overlap.d_in=2`. A wrong setting is refused in one line before any process starts.

`python -m scripts.config_reference` generates this page from `pp1_orchestrator/config/schema.py` and `conf/`.
"""
OF_PLUGINS = {
    "class": "of [an option of your own](add_a_strategy.md): its class, as `package.module:Class`",
    "options": "the settings of that class",
}
"""What keys mean that no file of `conf/` has."""
COLUMNS = "| key | may be | default | meaning |\n|---|---|---|---|"


def reference() -> str:
    """The whole page."""
    groups = {name: entry for name, entry in defaults().items() if name != "experiment"}
    types = {field.encode_name: field.type for field in _struct(inspect.type_info(Settings)).fields}
    parts = [HEAD, "## Groups\n", "| group | default | options | chooses |\n|---|---|---|---|"]
    for name, entry in groups.items():
        choices = ", ".join(f"`{option}`" for option in options(name))
        parts.append(row(f"[`{name}`](#{name})", f"`{entry.value}`", choices, entry.comment))
    for name, entry in groups.items():
        parts += ["", *_group(name, entry.value, types.pop(name))]
    parts += ["", "## Everything else\n", COLUMNS]
    general = {"": read(CONF / "config.yaml")}
    for name, kind in types.items():
        parts += _rows(name, kind, general)
    parts += ["", "## Named combinations\n", "| | |\n|---|---|"]
    parts += [row(f"`experiment={name}`", file.about) for name, file in options("experiment").items()]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page."""
    TARGET.write_text(reference(), encoding="utf-8")


def _group(name: str, default: str, kind: inspect.Type) -> Iterator[str]:
    files = options(name)
    ordered = {default: files.pop(default)} | files
    yield f"## {name}\n"
    about = [row(f"`{name}={option}`", file.about) for option, file in ordered.items() if file.about]
    if about:
        yield from ["| | |\n|---|---|", *about]
    rows = [row for field in _struct(kind).fields for row in _rows(field.encode_name, field.type, ordered, f"{name}.")]
    if rows:
        yield from [*([""] if about else []), COLUMNS, *rows]
    elif not about:
        yield f"`{name}={default}`. It has no keys of its own."


def _rows(key: str, kind: inspect.Type, files: Mapping[str, ConfFile], prefix: str = "") -> Iterator[str]:
    """A row for a key, or one for each key below it."""
    if key == "name":
        return
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from _rows(f"{key}.{field.encode_name}", field.type, files, prefix)
        return
    if key in OF_PLUGINS:
        yield row(f"`{prefix}{key}`", _type(kind), "–", OF_PLUGINS[key])
        return
    own = {option: file.entries[key] for option, file in files.items() if key in file.entries}  # others take it over
    values = {option: f"`{entry.value}`" for option, entry in own.items()}
    meanings = {option: entry.comment for option, entry in own.items() if entry.comment}
    yield row(f"`{prefix}{key}`", _type(kind), _by_option(values), _by_option(meanings))


def _by_option(texts: Mapping[str, str]) -> str:
    """The text that all options share, or each text with the options that it holds for."""
    by_text: dict[str, list[str]] = {}
    for option, text in texts.items():
        by_text.setdefault(text, []).append(f"`{option}`")
    if len(by_text) == 1:
        return next(iter(by_text))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items())


def _type(kind: inspect.Type) -> str:
    """A type in words, with its bounds."""
    match kind:
        case inspect.UnionType():
            return " or ".join(_type(member) for member in kind.types)
        case inspect.LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case inspect.DictType():
            return "keys and values"
        case inspect.VarTupleType():
            return f"a list; each {_type(kind.item_type)}"
        case inspect.IntType() | inspect.FloatType():
            word = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return f"{word}{_bounds(kind)}"
        case inspect.BoolType():
            return "`true` or `false`"
        case inspect.NoneType():
            return "`null`"
        case inspect.StrType():
            return "text"
        case inspect.StructType():
            return ", ".join(f"`{field.encode_name}` ({_type(field.type)})" for field in kind.fields)
    raise TypeError(f"{kind}: a setting of this type has no words yet")


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    signs = {">": kind.gt, "≥": kind.ge, "<": kind.lt, "≤": kind.le}
    return ",".join(f" {sign} {value}" for sign, value in signs.items() if value is not None)


def _struct(kind: inspect.Type) -> inspect.StructType:
    assert isinstance(kind, inspect.StructType), kind
    return kind


if __name__ == "__main__":
    main()
