"""Packages of plug-ins in folders of their own, importable for one test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.plugins import pages


@pytest.fixture
def importable(monkeypatch) -> Iterator[Callable[[Path], None]]:
    """Makes what lies in a folder importable until the test ends."""
    folders: list[Path] = []

    def add(folder: Path) -> None:
        folders.append(folder)
        monkeypatch.syspath_prepend(str(folder))

    yield add
    packages = {path.relative_to(folder).parts[0] for folder in folders for path in folder.rglob("*.py")}
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


@pytest.fixture
def guide(tmp_path, importable) -> list[str]:
    """The files of all guides, in a folder. What `--config-dir options plugins.allow=[my_parts]` sets."""
    pages.write(pages.files(*pages.GUIDES), tmp_path)
    importable(tmp_path)
    return [f"hydra.searchpath=[file://{tmp_path / 'options'}]", "plugins.allow=[my_parts]"]
