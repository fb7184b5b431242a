"""What the guides in docs/ tell a reader to write and to type: their files by name, and their commands."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "docs" / f"add_a_{what}.md" for what in ("strategy", "model", "decoder")]
FILE = re.compile(r"^`([\w./-]+)`[^\n]*:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(*guides: Path) -> dict[str, str]:
    """A file is a block of code after a line that begins with its name and ends with a colon."""
    return dict(found for guide in guides for found in FILE.findall(guide.read_text(encoding="utf-8")))


def commands(guide: Path) -> list[list[str]]:
    """The words of each line of the blocks of bash."""
    blocks = COMMANDS.findall(guide.read_text(encoding="utf-8"))
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def write(texts: dict[str, str], folder: Path) -> None:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
