"""What is refused before torch is imported, and that the facts about built-in strategies are those of their classes."""

import ctypes
import os
import subprocess
import sys

import pytest

from pp1_orchestrator.app.strategy_registry import CONTEXTS, OVERLAPS, ROUTINGS
from pp1_orchestrator.config.validate import DRIVER
from pp1_orchestrator.stage0.strategy_facts import HOMES, QUEUES, REBUILDS
from tests.system.warm import ROOT

PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sorted({"torch", "aiortc", "transformers"} & set(sys.modules))))
from pp1_orchestrator.__main__ import main
sys.exit(main())
"""
REFUSED = {
    "serving.host=0.0.0.0": "serving.token must be set",
    "serving.tls_cert=/no/such.pem": "serving.tls_key=null: needed together",
    "overlap=sync overlap.d_in=2": "allows only one at a time",
    "routing.encoder=leader": "encodes text elsewhere",
    "context.attention_bias=0.3": "rebuilds no cache",
    "layout.mesh_ranks=3": "3 tensor-parallel ranks cannot share",
    "run.script=/no/such.yaml": "can't be read",
    "run.prompt=''": "run.prompt=",
    "model=wan2_1_1_3b model.root=/no/such": "/no/such/generator: no such file; docs/models.md lists the files",
}


def test_the_facts_are_those_of_the_classes():
    assert {name: kind.home for name, kind in ROUTINGS.items()} == HOMES
    assert {name: kind.queues for name, kind in OVERLAPS.items()} == QUEUES
    assert {name: kind.rebuilds for name, kind in CONTEXTS.items()} == REBUILDS


def refuse(words: list[str], folder) -> tuple[int, str, str]:
    command = [sys.executable, "-c", PROGRAM, *words, f"outputs={folder}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.parametrize("words", REFUSED)
def test_a_refused_setting_needs_no_torch(tmp_path, words):
    code, imported, said = refuse([*words.split(), "serving.port=18999"], tmp_path)
    assert (code, imported) == (2, ""), said
    assert REFUSED[words] in said
    assert said.count("\n") == 1


def test_nor_does_a_gpu_that_can_not_be_here(tmp_path):
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        code, imported, said = refuse(["run=bench", "layout=gpu_1p2"], tmp_path)
        assert (code, imported) == (2, ""), said
        assert "layout.device=cuda:0: no such device here; choices: cpu" in said
    else:
        pytest.skip("there is an NVIDIA driver")
