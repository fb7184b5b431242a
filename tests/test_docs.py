"""The pages for people: every link inside the repository leads somewhere, and every page is linked from another one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> set[str]:
    """Targets inside the repository, as written, without a part of a page."""
    found = {target.split("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in target}
    return found - {""}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    assert [target for target in sorted(links(page)) if not (page.parent / target).exists()] == []


def test_every_page_can_be_reached():
    reached = {(page.parent / target).resolve() for page in PAGES for target in links(page)}
    assert [page.name for page in PAGES if page not in reached and page.parent.name == "docs"] == []


def test_every_picture_is_shown():
    shown = {(page.parent / target).resolve() for page in PAGES for target in links(page)}
    assert [path.name for path in (ROOT / "docs/images").iterdir() if path not in shown] == []
