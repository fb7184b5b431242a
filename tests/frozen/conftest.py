"""The runs that all frozen tests share."""

from pathlib import Path

import pytest

from . import capture
from .capture import Digest, Job, Texts


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("frozen")


@pytest.fixture(scope="session")
def digests(folder: Path) -> dict[Job, Digest]:
    return capture.strategies(folder)


@pytest.fixture(scope="session")
def bench(folder: Path) -> tuple[Digest, Texts]:
    return capture.bench(folder)


@pytest.fixture(scope="session")
def serve(folder: Path) -> Texts:
    return capture.serve(folder)
