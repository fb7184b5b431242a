"""What is planned for certain chunks: entries from a script, which is a YAML file, or from the API."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.stage0.validation import MAX_CHUNK, check_entries
from pp1_orchestrator.types import TimelineEntry

Script = list[TimelineEntry]
MAX_BYTES = 20_000_000
"""Of a script: room for the most entries with long prompts, and an end to what has none, such as a device."""
PAST_CHUNKS = 1000
"""Entries of the past that stay when a timeline is replaced: unfinished chunks may still ask for them."""


class Timeline:
    """Entries by chunk. Any thread may replace them; the session's thread asks chunk by chunk."""

    def __init__(self, entries: Iterable[TimelineEntry]) -> None:
        self._lock = threading.Lock()
        self._taken = -1
        """The newest chunk that has been planned."""
        self._use({entry.chunk: entry for entry in entries})

    def at(self, chunk: int) -> TimelineEntry | None:
        with self._lock:
            return self._entries.get(chunk)

    def take(self, chunk: int) -> TimelineEntry | None:
        """The entry of a chunk that is being planned. It can't be replaced any more."""
        with self._lock:
            self._taken = max(self._taken, chunk)
            return self._entries.get(chunk)

    def drops(self, chunk: int) -> bool:
        """True when this chunk is made only to be dropped, as the recorded run did."""
        with self._lock:
            return any(chunk in dropped for dropped in self._drops)

    def replace(self, entries: Sequence[TimelineEntry], relative: bool) -> int:
        """Replace all entries from the soonest chunk on that can still be planned, and return that chunk.

        relative: the entries count from there. Otherwise raises RequestError for an entry that comes too late.
        """
        with self._lock:
            soonest = self._taken + 2  # the next one may be being planned right now
            if relative:
                entries = [msgspec.structs.replace(entry, chunk=entry.chunk + soonest) for entry in entries]
                if entries and (last := max(entry.chunk for entry in entries)) > MAX_CHUNK:
                    raise RequestError(f"chunk {last - soonest} after chunk {soonest} is {last}; at most {MAX_CHUNK}")
            elif entries and (first := min(entry.chunk for entry in entries)) < soonest:
                raise RequestError(f"chunk {first} is past; the next that can be planned is {soonest}")
            past = range(soonest - PAST_CHUNKS, soonest)
            kept = {chunk: entry for chunk, entry in self._entries.items() if chunk in past}
            self._use(kept | {entry.chunk: entry for entry in entries})
            return soonest

    def from_chunk(self, chunk: int) -> list[TimelineEntry]:
        """The entries of this chunk and later ones, in order."""
        with self._lock:
            return [self._entries[at] for at in sorted(self._entries) if at >= chunk]

    def _use(self, entries: dict[int, TimelineEntry]) -> None:
        self._entries = entries
        self._drops = [range(entry.chunk - entry.dropped, entry.chunk) for entry in entries.values() if entry.dropped]


def read_script(path: Path) -> Script:
    """The entries of a file. Raises ConfigError with one line for a file that is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(f"run.script={path}: can't be read: {reason}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"run.script={path}: is larger than {MAX_BYTES} bytes")
    try:
        plain = yaml.load(text, _ScriptLoader)  # a kind of SafeLoader
    except Exception as error:  # a file's boundary: PyYAML raises anything for a date or number that is none
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where else ""
        raise ConfigError(f"run.script={path}: not valid YAML{line}, or YAML that a script can't have") from error
    try:
        entries = msgspec.convert(_listed(plain), Script)
        check_entries(entries)
    except (msgspec.ValidationError, RequestError) as error:
        raise ConfigError(f"run.script={path}: {' '.join(str(error).split())}") from error
    return entries


class _ScriptLoader(yaml.SafeLoader):
    """Takes no aliases: with them, a few hundred bytes can stand for any number of entries."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # pyright: ignore[reportUnknownMemberType]
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _listed(data: dict[str, Any] | list[Any] | None) -> Any:
    """The list of entries. The API and the page wrap it in an object, under `entries`."""
    if isinstance(data, dict) and data.keys() == {"entries"}:
        data = data["entries"]
    return data or []


def write_script(entries: Sequence[TimelineEntry], path: Path, heading: str) -> None:
    """Write entries so that `read_script` returns them. heading: one line, written as a comment."""
    plain = [msgspec.to_builtins(entry) for entry in entries]
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    path.write_text(f"# {heading}\n{text}", encoding="utf-8")
