"""Paths with ~, also for users who have no home folder and names that are nobody's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pp1_orchestrator.user_paths import NO_FOLDER, cache_folder, user_path

UNKNOWN = 54321
"""No user of this machine has this number."""
AS_NOBODY = (
    f"import os; from pp1_orchestrator.user_paths import cache_folder, user_path; os.setuid({UNKNOWN}); "
    "print(cache_folder(), user_path('~/x'))"
)


def test_a_home_folder_is_found_and_what_is_nobodys_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert user_path("~/a b") == tmp_path / "a b"
    assert user_path(Path("a/~")) == Path("a/~")
    assert user_path("~nobody-has-this-name/x") == Path("~nobody-has-this-name/x")
    assert cache_folder() == tmp_path / ".cache" / "pp1-orchestrator"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "pp1-orchestrator"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_a_home_folder_has_no_cache_and_no_error():
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [str(NO_FOLDER), "~/x"], done.stderr
