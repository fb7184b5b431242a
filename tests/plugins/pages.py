"""What the guides in docs/ tell a reader to write and to type: their files by name, and their commands."""

import re
from pathlib import Path

from tests.documented import ROOT, blocks

GUIDES = [ROOT / "docs" / f"add_a_{what}.md" for what in ("strategy", "model", "decoder")]
FILE = re.compile(r"^`([\w./-]+)`[^\n]*:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(*guides: Path) -> dict[str, str]:
    """A file is a block of code after a line that begins with its name and ends with a colon."""
    return dict(found for guide in guides for found in FILE.findall(guide.read_text(encoding="utf-8")))


def commands(guide: Path) -> list[list[str]]:
    """The words of each command, in the order of the page."""
    return [words for block in blocks() if block.page == guide and block.language == "bash" for words in block.commands]


def write(texts: dict[str, str], folder: Path) -> None:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
