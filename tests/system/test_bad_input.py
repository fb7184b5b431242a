"""Impossible configurations: one exact line, exit code 2, nothing is started. Peers that do not fit: one line too."""

import os
import socket
import subprocess
import sys

import psutil
import pytest
import torch

from tests.documented import ROOT
from tests.system.program import free_port, run_to_end
from tests.timing import stopwatch

REFUSED_S = 5
"""On an idle machine."""
HERE = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
CASES = {
    "an unknown option": (
        ["overlap=nothing"],
        "overlap=nothing: not an option; choices: decode_thread, loop_ahead, stage0_owned, sync",
    ),
    "a queue where there is none": (
        ["overlap=sync", "overlap.d_in=2"],
        "overlap.d_in=2: overlap=sync allows only one at a time; possible: 1",
    ),
    "an encoder in the wrong place": (
        ["routing=mesh_encoder", "routing.encoder=rank0"],
        "routing.encoder=rank0: routing=mesh_encoder encodes text elsewhere; possible: leader",
    ),
    "a bias for a cache that is never rebuilt": (
        ["context.attention_bias=0.3"],
        "context.attention_bias=0.3: context=clean_pass rebuilds no cache; possible: 1",
    ),
    "an unknown key": (["stream.heigth=64"], "stream.heigth: no such key; did you mean stream.height?"),
    "an added key": (["+serving.prot=1"], "serving.prot: no such key; did you mean serving.port?"),
    "a value that needs quotes": (
        ["layout.mesh_device=cuda:{index}"],
        "layout.mesh_device=cuda:{index}: can't be read as key=value; quote a value with special characters twice: "
        "\"key='a, b!'\"",
    ),
    "a word that is no setting": (["bench"], "bench: not a setting; expected key=value, such as run=bench"),
    "a text with a comma": (
        ["run.prompt=a red circle, big"],
        "run.prompt: quote a text with commas twice: \"key='a, b'\"; to try several values, add -m",
    ),
    "a text that looks like a number": (
        ["serving.token=123456"],
        "serving.token: expected `str | null`, got `int`; quote text that looks like a number or a truth value: "
        "\"serving.token='…'\"",
    ),
    "one of a list": (["model.steps=[a]"], "model.steps[0]=a: expected `float`, got `str`"),
    "a frame that no memory holds": (["stream.height=160000"], "stream.height=160000: expected `int` <= 8192"),
    "a value of the wrong type": (["stream.height=tall"], "stream.height=tall: expected `int`, got `str`"),
    "a height that does not fit the model": (
        ["stream.height=100"],
        "stream.height=100: must be a multiple of 16, such as 96 or 112",
    ),
    "a script that is not there": (
        ["run.script=/nowhere/script.yaml"],
        "run.script=/nowhere/script.yaml: can't be read: No such file or directory",
    ),
    "a tensor-parallel degree that does not divide the heads": (
        ["layout.mesh_ranks=3"],
        "layout.mesh_ranks=3: 3 tensor-parallel ranks cannot share 4 heads and a feed-forward of 640; "
        "possible: 1, 2, 4",
    ),
    "a sequence-parallel degree that does not divide the heads": (
        ["parallel=sequence", "layout.mesh_ranks=3"],
        "layout.mesh_ranks=3: 3 sequence-parallel ranks cannot share 4 heads; possible: 1, 2, 4",
    ),
    "compiled passes that would have to exchange tokens": (
        ["parallel=sequence", "layout.compile=true"],
        "parallel=sequence: layout.compile=true can't exchange tokens yet; possible: tensor",
    ),
    "another way to split the model": (
        ["parallel=pipeline"],
        "parallel=pipeline: not an option; choices: sequence, tensor",
    ),
    "a device that is not here, whatever it should do": (
        ["layout=inline", "layout.device=cuda:99", "layout.compile=true", "layout.fp8=true"],
        f"layout.device=cuda:99: no such device here; choices: {', '.join(HERE)}",
    ),
    "a device that is named after something else": (
        ["layout.mesh_device='cuda:{number}'"],
        "layout.mesh_device=cuda:{number}: {number} is not a placeholder; possible: {rank}, {index}",
    ),
    "a TURN server without a credential": (
        ["serving.ice_servers=[{urls: 'turn:a.example', username: me}]"],
        "serving.ice_servers[0].credential: is missing; a TURN server needs username and credential",
    ),
    "a credential that can't be read": (
        ["serving.ice_servers=[{urls: 'turn:a.example', username: me, credential: a:b}"],
        "serving.ice_servers=…: can't be read as key=value; quote a value with special characters twice: "
        "\"key='a, b!'\"",
    ),
    "a port out of range": (["serving.port=70000"], "serving.port=70000: expected `int` <= 65535"),
    "an open bind without a token": (
        ["serving.host=0.0.0.0"],
        "serving.host=0.0.0.0: other machines could use it, so serving.token must be set; without a token only a "
        "loopback address such as 127.0.0.1 is allowed",
    ),
}


@pytest.mark.parametrize(("options", "line"), CASES.values(), ids=CASES.keys())
def test_one_line_and_exit_code_2(tmp_path, options, line):
    done = run_to_end(f"serving.port={free_port()}", *options, out=tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"configuration error: {line}\n"
    assert done.stdout == ""


def test_a_folder_that_cannot_be_made(tmp_path):
    taken = tmp_path / "out"
    taken.touch()
    done = run_to_end("run=plan", out=taken)
    assert done.returncode == 2, done.stderr
    line = f"hydra.run.dir: no run can leave its files in {taken}: File exists"
    assert done.stderr == f"configuration error: {line}\n"


def test_a_current_folder_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    command = 'cd "$1" && rmdir "$1" && exec "$2" -m pp1_orchestrator run=plan'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", command, "sh", gone, sys.executable], env=environment, capture_output=True, text=True
    )
    line = "the current folder can't be used: No such file or directory"
    assert (done.returncode, done.stderr) == (2, f"configuration error: {line}\n")


def test_a_taken_port(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with stopwatch() as watch:
            done = run_to_end(f"serving.port={port}", out=tmp_path / "out", cold=True)
    assert done.returncode == 2, done.stderr
    who = f"{psutil.Process().name()} (process {os.getpid()})"
    taken = f"serving.port={port}: already in use on 127.0.0.1 by {who}"
    assert done.stderr == f"configuration error: {taken}; free it or choose another, e.g. serving.port={port + 1}\n"
    assert watch.within(REFUSED_S)
