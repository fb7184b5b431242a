"""The pages for people: every link inside the repository leads somewhere, and every page is linked from another one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
PROMISE, NAMED = re.compile(r"\| [RS]\d+ \|"), re.compile(r"`([^`]+)`")
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


def promises() -> dict[str, list[str]]:
    """Rows of the table of promises by their number: the cells after it."""
    lines = (ROOT / "docs/reliability.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if PROMISE.match(line)]
    return {number: cells for number, *cells in rows}


def test_every_promise_has_its_row():
    assert list(promises()) == [*(f"R{n}" for n in range(1, 32)), *(f"S{n}" for n in range(1, 13))]


@pytest.mark.parametrize(("number", "cells"), promises().items(), ids=promises())
def test_a_promise_names_tests_that_are_there_or_says_that_it_is_open(number, cells):
    files = NAMED.findall(cells[-2])
    assert [file for file in files if not (ROOT / "tests" / file).is_file()] == []
    assert files or cells[-1].startswith("**open**"), number


def test_every_test_that_is_named_is_there():
    words = NAMED.findall((ROOT / "docs/reliability.md").read_text(encoding="utf-8"))
    named = [word for word in words if "/test_" in word]
    assert len(named) > 50
    assert [file for file in named if not (ROOT / "tests" / file).is_file()] == []
