"""The Python blocks of docs/library.md, each as a script of its own."""

import os
import subprocess
import sys

import pytest

from tests.documented import blocks
from tests.system.warm import ROOT

pytestmark = pytest.mark.slow

SCRIPTS = {
    block.name: block.code for block in blocks() if block.page.name == "library.md" and block.language == "python"
}


def test_there_are_some():
    assert len(SCRIPTS) >= 3


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_runs(name, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(SCRIPTS[name], encoding="utf-8")
    command, environment = [sys.executable, str(script)], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert list(tmp_path.iterdir()) == [script]  # no file is left
