"""A scripted run: a YAML list of timeline entries, checked before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.ports import TimelineEntry
from pp1_orchestrator.stage0.checks import check_entries

Script = list[TimelineEntry]


def read_script(path: Path) -> Script:
    """The entries. Raises ConfigError, in one line, for whatever is wrong with the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"run.script={path}: can't be read: {reason}") from error
    try:
        entries = msgspec.convert(_listed(yaml.safe_load(text)), Script)
        check_entries(entries)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where else ""
        raise ConfigError(f"run.script={path}: not valid YAML{line}") from error
    except (msgspec.ValidationError, RequestError) as error:
        raise ConfigError(f"run.script={path}: {error}") from error
    return entries


def _listed(data: Any) -> Any:
    """The list alone, where a timeline comes as the API and the page have it: under `entries`."""
    if isinstance(data, dict) and data.keys() == {"entries"}:
        data = data["entries"]
    return data or []


def write_script(entries: Sequence[TimelineEntry], path: Path, heading: str) -> None:
    """Write entries so that `read_script` gives them back; heading: a comment in front, one line."""
    plain = [msgspec.to_builtins(entry) for entry in entries]
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    path.write_text(f"# {heading}\n{text}", encoding="utf-8")
