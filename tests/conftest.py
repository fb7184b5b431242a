"""Settings of the whole test run: one torch thread, no hub access, stack dumps on a crash, our own tools first.

They stand here, before anything imports torch, and are inherited by the processes that tests start.
"""

import faulthandler
import gc
import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])

import pytest
import torch
from hypothesis import settings

faulthandler.enable()
torch.set_num_threads(1)

# No deadline: a busy machine is no fault. The same examples every time: a failure must be seen again.
settings.register_profile("project", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("project")


SLOW_MARKS = ("pytest.mark.slow", "IN_BOTH")
"""What a file with a slow test has in it; the second is in tests/ui/browser.py."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m slow`, files without a slow test need not be imported."""
    if config.option.markexpr != "slow" or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return not any(mark in text for mark in SLOW_MARKS) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With TIMES=10, ten of each test: scripts/under_load.sh looks for those that fail now and then."""
    times = int(os.environ.get("TIMES", "1"))
    if times > 1:
        metafunc.fixturenames.append("again")
        metafunc.parametrize("again", range(times))


FIRST = ("chaos", "ui", "fault", "system", "frozen", "media")
"""Folders whose tests run long. They come first: no worker is left with one when the others have nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in FIRST)


def pytest_collection_finish() -> None:
    """What is imported by now stays: a full collection, as at the end of each stream, need not look at it again."""
    gc.collect()
    gc.freeze()
