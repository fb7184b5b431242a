"""The pages for people: links lead somewhere, pages are linked and in the site, and commands name what there is.

tests/system/test_documented_commands.py runs the commands.
"""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from pp1_orchestrator.config.conf_files import CONF
from scripts.docs.repository_links import REPOSITORY, on_page_markdown
from tests.documented import blocks, mentioned

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


def pages_of(nav: list) -> list[str]:
    """The files that the site's navigation names, in order."""
    entries = [entry if isinstance(entry, str) else next(iter(entry.values())) for entry in nav]
    return [page for entry in entries for page in (pages_of(entry) if isinstance(entry, list) else [entry])]


def test_every_page_is_in_the_navigation_of_the_site_once():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(pages_of(nav)) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_order_of_the_packages_is_the_one_that_is_checked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    shown = [block.code.splitlines() for block in blocks() if block.page.name == "architecture.md"]
    assert [layer.replace(" | ", " · ") for layer in layers] in shown


def test_links_out_of_the_pages_lead_to_the_repository():
    text = "[a](../SECURITY.md#reporting), [b](api.md), [c](https://example.org/../d)"
    site = f"[a]({REPOSITORY}SECURITY.md#reporting), [b](api.md), [c](https://example.org/../d)"
    assert on_page_markdown(text, page=None) == site


def test_every_block_says_what_it_is():
    assert [block.name for block in blocks() if not block.language] == []


def test_only_commands_have_a_reason_why_they_are_not_run():
    said = [block for block in blocks() if block.reason is not None]
    assert len(said) > 10
    assert [block.name for block in said if block.language != "bash"] == []
    marks = sum(len(re.findall(r"^<!-- not run: ", page.read_text(encoding="utf-8"), re.M)) for page in PAGES)
    assert marks == len(said), "a mark stands on the line before its block"
    tests = [name for block in said for name in re.findall(r"tests/\S+\.py", block.reason or "")]
    assert [name for name in tests if not (ROOT / name).is_file()] == []


TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize(("place", "words"), mentioned())
def test_a_command_names_what_there_is(place, words):
    match words:
        case ["make", target, *options]:
            assert target in TARGETS, place
            settings = next((word for word in options if word.startswith("ARGS=")), "ARGS=")
            assert_settings(shlex.split(settings.removeprefix("ARGS=")))
        case ["python", "-m", "pp1_orchestrator", *settings]:
            assert_settings(settings)
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None, place
        case [script, *_]:
            assert (ROOT / script).is_file(), place


def assert_settings(words: list[str]) -> None:
    """Hydra can compose the settings; of a sweep each first value."""
    if "--config-dir" in words:
        return
    settings = [word.split(",")[0] if "-m" in words and "'" not in word else word for word in words if "=" in word]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("config", overrides=settings)


def promises() -> dict[str, list[str]]:
    """Rows of the table of promises by their number: the cells after it."""
    lines = (ROOT / "docs/reliability.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if PROMISE.match(line)]
    return {number: cells for number, *cells in rows}


def test_every_promise_has_its_row():
    rows = list(promises())
    kinds = {kind: sum(row.startswith(kind) for row in rows) for kind in "RS"}
    assert rows == [f"{kind}{number}" for kind, count in kinds.items() for number in range(1, count + 1)]
    assert kinds["R"] >= 34  # none is dropped quietly
    assert kinds["S"] >= 12


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


def test_every_named_combination_is_explained():
    page = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    names = [path.stem for path in (CONF / "experiment").glob("*.yaml")]
    assert names
    assert [name for name in names if not re.search(rf"^\| .*`{name}`.* \|", page, re.M)] == []


def test_the_first_page_lists_all_others():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert sorted(pages - links(ROOT / "docs" / "index.md") - {"index.md"}) == []
