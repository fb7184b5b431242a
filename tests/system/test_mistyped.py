"""Thirty mistyped commands, as processes: one line, exit code 2, what was meant where that is near, and no folder."""

import os
import subprocess
import sys

import pytest

from tests.system import warm

COMMANDS = {
    "overlpa=sync": "did you mean overlap?",
    "overlap=snyc": "did you mean sync?",
    "overlap=5": "not an option; choices: decode_thread, loop_ahead",
    f"{'o' * 300}=5": "ooo…: not a setting; no name has 300 characters",
    "run=bnech": "did you mean bench?",
    "bench": "such as run=bench",
    "overlap": "such as run=bench",
    "seed:7": "such as run=bench",
    "--run=bench": "did you mean run=bench?",
    "--hlep": "did you mean --help?",
    "-version": "did you mean --version?",
    "--multrun run=bench overlap=sync,loop_ahead": "did you mean --multirun?",
    "--cfg": "expected one argument",
    "--cfg jobs": "choose from 'job', 'hydra', 'all'",
    "--config-dir nowhere run=plan": "nowhere' not found",
    "-m run=bnech overlap=sync,loop_ahead": "did you mean bench?",
    "overlap=sync -m run=bench": "run=bench: settings stand side by side",
    "run.chunks=ten": "run.chunks=ten: expected `int | null`",
    "run.chunks=-1": "run.chunks=-1: expected `int` >= 1",
    "run.chunks=": "run.chunks=: expected `int | null`",
    "run.chunks==3": "run.chunks==3: can't be read",
    "model=wan": "did you mean wan2_1_1_3b?",
    "model=wan2_1_13b": "did you mean wan2_1_1_3b?",
    "+model=tiny": "model=…",
    "~overlap": "overlap: can't be left out",
    "~serving.prt": "did you mean serving.port?",
    "serving.prot=7000": "did you mean serving.port?",
    "stream.size=128": "stream has fps, height, width",
    "hydra.run.dri=x": "did you mean hydra.run.dir?",
    "layout=gpu_1p3": "did you mean gpu_1p4?",
    "experiment=laptop_bnch": "did you mean laptop_bench?",
    "context=clean-pass": "did you mean clean_pass?",
    "run=plan machine=h200x3": "did you mean h200x",
    "serving.port=7860x": "serving.port=7860x: expected `int`",
    "model.steps=1000": "model.steps=1000: expected `array`",
}
COLD = ("--hlep", "serving.prot=7000", "run.chunks=-1")
"""Those that a new interpreter runs, too."""


def refuse(tmp_path, words: str, cold: bool) -> tuple[int, str, str]:
    outputs = f"outputs={tmp_path / 'outputs'}"
    arguments = [*words.split(), outputs] if "=" in words else [outputs, *words.split()]
    if cold:
        command = [sys.executable, "-m", "pp1_orchestrator", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(warm.ROOT)},
                              capture_output=True, text=True, timeout=120)  # fmt: skip
        return done.returncode, done.stdout, done.stderr
    out, err = tmp_path / "stdout", tmp_path / "stderr"
    code = warm.start(arguments, out, err).wait(120)
    return code, out.read_text(), err.read_text()


@pytest.mark.parametrize(
    ("words", "cold"), [*((words, False) for words in COMMANDS), *((words, True) for words in COLD)]
)
def test_a_mistyped_command_is_one_line(tmp_path, words, cold):
    code, out, err = refuse(tmp_path, words, cold)
    assert (code, out) == (2, ""), err
    assert err.startswith("configuration error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert COMMANDS[words] in err
    assert not (tmp_path / "outputs").exists()
