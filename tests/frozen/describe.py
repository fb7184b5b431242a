"""Turns what the program leaves behind into text that is the same in every run, one fact a line."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SCALARS = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? \S+$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
OPEN_LABELS = ("le", "rank", "version")
"""Labels whose values are not listed."""
LOAD_DEPENDENT = re.compile(r"event loop|stacks? (is|are) in")
"""Log lines that come only on a machine that is busy with something else."""


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def shape(*values: Any) -> str:
    """Every key path of the values with the types found there; `[]` stands for the items of a list."""
    found: dict[str, set[str]] = {}
    for value in values:
        for path, kind in _walk(value, ""):
            found.setdefault(path, set()).add(kind)
    return _lines(f"{path}: {' | '.join(sorted(kinds))}" for path, kinds in sorted(found.items()))


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, f"{path}[]")
    else:
        yield path, SCALARS[type(value)]


def metrics(exposition: str) -> str:
    """Name, type and labels of each metric in Prometheus text."""
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", exposition, re.M))
    values: dict[str, dict[str, set[str]]] = {name: {} for name in kinds}
    for line in exposition.splitlines():
        if line.startswith("#") or (sample := SAMPLE.match(line)) is None:
            continue
        name = sample["name"]
        if name not in kinds:
            name = re.sub(r"_(bucket|sum|count)$", "", name)
        for label, value in LABEL.findall(sample["labels"] or ""):
            values.setdefault(name, {}).setdefault(label, set()).add(value)
    return _lines(f"{kinds.get(name, '?')} {name}{_labels(labels)}" for name, labels in sorted(values.items()))


def _labels(labels: dict[str, set[str]]) -> str:
    def one(label: str) -> str:
        return label if label in OPEN_LABELS else f"{label}={'|'.join(sorted(labels[label]))}"

    return "{" + ", ".join(one(label) for label in sorted(labels)) + "}" if labels else ""


def trace(document: dict[str, Any]) -> str:
    """Kinds, tracks, names and keys of a trace's events. `late` marks are left out: they depend on the machine."""
    events = [event for event in document["traceEvents"] if event["ph"] != "i"]
    facts = {f"keys: {key}" for key in document} | {f"otherData: {key}" for key in document["otherData"]}
    for event in events:
        args = event.get("args", {})
        place = f"rank {event['pid']}"
        if event["ph"] == "M" and event["name"].endswith("_name"):
            facts.add(f"track: {place}: {event['name']} = {args['name']}")
        keys = ", ".join(sorted(event))
        facts.add(f"event: {event['ph']} {event['name']!r}: {place}: {keys}; args: {', '.join(sorted(args))}")
    return _lines(sorted(facts))


def text_log(output: str, folder: Path) -> str:
    """Templates of text log lines, sorted: ranks and threads write in any order."""
    lines = (re.sub(r"^[\d\-]*[ ]?\d\d:\d\d:\d\d\S*", "TIME", line) for line in output.splitlines())
    return _log_lines(template(line, folder) for line in lines if line.startswith("TIME"))


def json_log(lines: Iterable[str], folder: Path) -> str:
    """Templates of JSON log lines, sorted: rank, level, message and, in braces, the other keys but the usual ones."""
    found = []
    for line in lines:
        entry = json.loads(line)
        message = template(entry.pop("message"), folder)
        rank, level = entry.pop("rank"), entry.pop("level")
        keys = sorted(entry.keys() - {"time", "logger", "pid"})
        found.append(f"rank {rank} {level} {message}" + (" {" + ", ".join(keys) + "}" if keys else ""))
    return _log_lines(found)


def template(message: str, folder: Path) -> str:
    """A message without the folder, numbers and addresses of this run."""
    message = message.replace(str(folder), "FOLDER")
    return re.sub(r"(?<![\w.])-?\d+(\.\d+)*(?!\w)", "N", message)


def files(folder: Path) -> str:
    return _lines(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))


def _log_lines(lines: Iterable[str]) -> str:
    return _lines(sorted({line for line in lines if not LOAD_DEPENDENT.search(line)}))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
