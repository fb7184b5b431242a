"""Reads the YAML files of `conf/` with their comments, which say what each key means. Knows nothing of the schema."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

CONF = Path(__file__).resolve().parents[1] / "conf"
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
    lines = text.splitlines()
    top = [line for line in lines[: _first_without(lines)] if "@package" not in line]
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode), path
    about = " ".join(line.removeprefix("#").strip() for line in top)
    return ConfFile(about, dict(_leaves(root, lines)))


def defaults() -> dict[str, Entry]:
    """The groups of `config.yaml` in their order, each with its default option and what it chooses."""
    text = (CONF / "config.yaml").read_text(encoding="utf-8")
    root, lines = yaml.compose(text), text.splitlines()
    assert isinstance(root, yaml.MappingNode)
    items = next(node for key, node in root.value if key.value == "defaults").value
    groups = [(*item.value[0], item) for item in items if isinstance(item, yaml.MappingNode)]
    return {
        key.value: Entry(value.value, _comment(lines, item.start_mark.line))
        for key, value, item in groups
        if not key.value.startswith("override ")
    }


def options(group: str) -> dict[str, ConfFile]:
    """All options of a group, by name."""
    return {path.stem: read(path) for path in sorted((CONF / group).glob("*.yaml"))}


def _first_without(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))


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
