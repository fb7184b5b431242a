"""Reads the YAML files of `conf/` with their comments, which say what each key means. Knows nothing of the schema."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

CONF = Path(__file__).parents[1] / "conf"
COMMENT = re.compile(r"(?:^|\s)#\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file says about a key: the value as it is written, and the comment beside it, after that of its parent."""

    value: str
    comment: str


@dataclass(frozen=True, slots=True)
class ConfFile:
    """about: the comment at the top; entries: by dotted key, those of nested keys too."""

    about: str
    entries: dict[str, Entry]


def read(path: Path) -> ConfFile:
    """One file of `conf/`."""
    text = path.read_text(encoding="utf-8")
    root, lines = _compose(text), text.splitlines()
    return ConfFile(_top(lines), dict(_leaves(root, lines)))


def _compose(text: str) -> yaml.MappingNode:
    root = cast(Any, yaml).compose(text, Loader=yaml.CSafeLoader)
    assert isinstance(root, yaml.MappingNode), "a file of settings has keys"
    return root


def about(path: Path) -> str:
    """The comment at the top of a file."""
    return _top(path.read_text(encoding="utf-8").splitlines())


def defaults() -> dict[str, Entry]:
    """The groups of `config.yaml` in their order, each with its default option and what it chooses."""
    text = (CONF / "config.yaml").read_text(encoding="utf-8")
    root, lines = _compose(text), text.splitlines()
    items = next(node for key, node in root.value if key.value == "defaults").value
    groups = [(*item.value[0], item) for item in items if isinstance(item, yaml.MappingNode)]
    return {
        key.value: Entry(value.value, _comment(lines, item.start_mark.line))
        for key, value, item in groups
        if not key.value.startswith("override ")
    }


def options(group: str) -> dict[str, ConfFile]:
    """All options of a group, by name."""
    return {path.stem: read(path) for path in option_files(group)}


def group_names() -> frozenset[str]:
    """All groups, those within a group as `outer/inner`."""
    return frozenset(path.parent.relative_to(CONF).as_posix() for path in CONF.glob("**/*.yaml")) - {"."}


def option_files(group: str) -> list[Path]:
    """The file of each option of a group, by name; none for what is no group."""
    return sorted((CONF / group).glob("*.yaml"))


def _top(lines: list[str]) -> str:
    comments = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comments if "@package" not in line)


def _leaves(node: yaml.MappingNode, lines: list[str], prefix: str = "", above: str = "") -> Iterator[tuple[str, Entry]]:
    for key, value in node.value:
        comment = ": ".join(filter(None, [above, _comment(lines, key.start_mark.line)]))
        if isinstance(value, yaml.MappingNode):
            yield from _leaves(value, lines, f"{prefix}{key.value}.", comment)
        else:
            yield prefix + key.value, Entry(_value(value), comment)


def _value(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(_value(item) for item in node.value)}]"
    return str(node.value)


def _comment(lines: list[str], number: int) -> str:
    match = COMMENT.search(lines[number])
    return match[1] if match else ""
