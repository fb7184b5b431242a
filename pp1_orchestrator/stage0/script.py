"""A scripted run: a YAML list of prompt updates by chunk index, checked before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import yaml

from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.ports import PromptUpdate, Transition, WeightedPrompt
from pp1_orchestrator.stage0.prompts import check_update

Script = dict[int, PromptUpdate]


class ScriptEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a script: from `chunk` on, show this."""

    chunk: int
    prompt: str | None = None
    prompts: tuple[WeightedPrompt, ...] = ()
    blend: Literal["linear", "slerp"] = "linear"
    transition: Transition | None = None
    cut: Literal["soft", "hard"] = "soft"

    def update(self) -> PromptUpdate:
        return PromptUpdate(self.prompt, self.prompts, self.blend, self.transition, self.cut)


def read_script(path: Path) -> Script:
    """The updates by chunk. Raises ConfigError, in one line, for whatever is wrong with the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"run.script={path}: can't be read: {reason}") from error
    try:
        entries = msgspec.convert(yaml.safe_load(text) or [], list[ScriptEntry])
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where else ""
        raise ConfigError(f"run.script={path}: not valid YAML{line}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"run.script={path}: {error}") from error
    return _by_chunk(path, entries)


def _by_chunk(path: Path, entries: list[ScriptEntry]) -> Script:
    script: Script = {}
    for index, entry in enumerate(entries):
        update = entry.update()
        try:
            check_update(update)
        except RequestError as error:
            raise ConfigError(f"run.script={path}: entry {index}: {error}") from error
        if entry.chunk < 0 or entry.chunk in script:
            problem = "is negative" if entry.chunk < 0 else "appears twice"
            raise ConfigError(f"run.script={path}: entry {index}: chunk {entry.chunk} {problem}")
        script[entry.chunk] = update
    return script
