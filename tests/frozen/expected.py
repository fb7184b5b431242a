"""The stored side: the files of `expected/`, and how a difference is shown."""

import difflib
import json
from pathlib import Path
from typing import Any

from . import describe

FOLDER = Path(__file__).parent / "expected"
DIGESTS = FOLDER / "digests.json"
RECORD = "python -m tests.frozen.record"


def read(name: str) -> str:
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write(name: str, text: str) -> None:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def names(part: str) -> set[str]:
    """Stored files whose path begins like this."""
    paths = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    return {path for path in paths if path.startswith(part)}


def difference(texts: dict[str, str]) -> str:
    """A unified diff from the stored texts to these; empty where they are equal."""
    lines: list[str] = []
    for name, text in sorted(texts.items()):
        stored, now = read(name).splitlines(), text.splitlines()
        lines += difflib.unified_diff(stored, now, f"expected/{name}", "now", lineterm="", n=1)
    return "\n".join(lines)


def digests() -> dict[str, Any]:
    """Stored digests by machine key."""
    return json.loads(read("digests.json") or "{}")


def write_digests(key: str, values: dict[str, Any]) -> None:
    """Keep the other machines' values only while this machine's have not changed: else those are out of date."""
    stored = digests()
    if stored.get(key, values) != values:
        stored = {}
    write("digests.json", describe.as_json(stored | {key: values}))
