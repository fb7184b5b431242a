"""Two minutes of fuzzing, shared by the targets. Longer: `make fuzz TARGET=… SECONDS=…`."""

import subprocess
import sys

import pytest

from tests.fuzz import engines

SEED = 1
"""The same inputs on every machine, as far as each comes in the time: a finding can be had again."""
SECONDS = 120 / len(engines.NAMES)
LIMIT_S = 500
"""Starting takes longer than fuzzing: atheris instruments each module while it is imported."""


@pytest.mark.slow
@pytest.mark.parametrize("name", engines.NAMES)
def test_a_while_of_fuzzing_finds_nothing(name, tmp_path):
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(SECONDS), "--seed", str(SEED)]
    command += ["--folder", str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout
    assert " executions in " in done.stdout
