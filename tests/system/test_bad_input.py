"""Impossible configurations: one exact line, exit code 2, and nothing is started."""

import socket

import pytest

from .program import run_to_end

CASES = {
    "an unknown option": (["overlap=nothing"], ""),
    "an unknown key": (["stream.heigth=64"], ""),
    "a value of the wrong type": (["stream.height=tall"], ""),
    "a height that does not fit the model": (["stream.height=100"], ""),
    "a script that is not there": (["run.script=/nowhere/script.yaml"], ""),
    "a tensor-parallel degree that does not divide the heads": (["layout.mesh_ranks=3"], ""),
    "a port out of range": (["serving.port=70000"], ""),
    "an open bind without a token": (["serving.host=0.0.0.0"], ""),
}


@pytest.mark.parametrize(("options", "line"), CASES.values(), ids=CASES.keys())
def test_one_line_and_exit_code_2(tmp_path, options, line):
    done = run_to_end(*options, out=tmp_path / "out", timeout_s=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"configuration error: {line}\n"
    assert done.stdout == ""


def test_a_taken_port(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = run_to_end(f"serving.port={port}", out=tmp_path / "out", timeout_s=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"configuration error: serving.port={port}: already taken on 127.0.0.1\n"
