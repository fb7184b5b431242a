"""The code blocks of the pages for people, and the commands in them.

A block whose language is `bash` holds commands. They are run by tests, unless a comment before the block says why not:
`<!-- not run: REASON -->`. Other blocks show something else and say what: `text`, `json`, `yaml`, …
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")), *ROOT.glob("docs/*.md")])
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^ *```(?P<language>\S*)\n(?P<code>.*?)^ *```$", re.M | re.S
)
INLINE = re.compile(r"`([^`]+)`")
OURS = re.compile(r"(python -m|make|scripts/\S+\.(sh|py))( |$)")


@dataclass(frozen=True)
class Block:
    """A code block. reason: why its commands are not run."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def lines(self) -> list[str]:
        return self.code.replace("\\\n", " ").splitlines()

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, as a shell splits them."""
        return [words for line in self.lines if (words := shlex.split(line, comments=True))]


def blocks() -> list[Block]:
    """All blocks of all pages."""
    return [
        Block(page, text.count("\n", 0, found.start("language")) + 1, found["language"], found["code"], found["reason"])
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in BLOCK.finditer(text)
    ]


def runnable() -> dict[str, Block]:
    """The blocks whose commands are run, by their text: what two pages show is run once."""
    return {block.code: block for block in blocks() if block.language == "bash" and block.reason is None}


def mentioned() -> list[tuple[str, list[str]]]:
    """Commands of this repository, within sentences and in blocks, with their place."""
    found = [(block.name, line) for block in blocks() if block.language == "bash" for line in block.lines]
    for page in PAGES:
        texts = INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
        found += [(page.name, " ".join(text.split())) for text in texts if "…" not in text]
    return [(place, shlex.split(line, comments=True)) for place, line in found if OURS.match(line)]
