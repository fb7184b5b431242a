"""Packages of plug-ins in folders of their own, importable for one test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.plugins import pages


@pytest.fixture
def importable(monkeypatch) -> Iterator[Callable[[Path], None]]:
    """Makes what lies in a folder importable until the test ends."""
    before = set(sys.modules)
    yield lambda folder: monkeypatch.syspath_prepend(str(folder))
    for name in set(sys.modules) - before:
        if not name.startswith("pp1_orchestrator"):
            del sys.modules[name]


@pytest.fixture
def guide(tmp_path, importable) -> list[str]:
    """The files of all guides, in a folder. What `--config-dir options plugins.allow=[my_parts]` sets."""
    pages.write(pages.files(*pages.GUIDES), tmp_path)
    importable(tmp_path)
    return [f"hydra.searchpath=[file://{tmp_path / 'options'}]", "plugins.allow=[my_parts]"]
