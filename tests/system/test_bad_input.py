"""Impossible configurations: one exact line, exit code 2, and nothing is started."""

import socket

import pytest

from .program import run_to_end

CASES = {
    "an unknown option": (["overlap=nothing"], "overlap=nothing: not an option; choices: stage0_owned, sync"),
    "an unknown key": (["stream.heigth=64"], "stream.heigth: no such key; `--cfg job` lists all of them"),
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
    "a port out of range": (["serving.port=70000"], "serving.port=70000: expected `int` <= 65535"),
    "an open bind without a token": (
        ["serving.host=0.0.0.0"],
        "serving.host=0.0.0.0: other machines could use it, so serving.token must be set; without a token only a "
        "loopback address such as 127.0.0.1 is allowed",
    ),
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
    assert done.stderr.startswith(f"configuration error: serving.port={port}: already in use on 127.0.0.1; ")
    assert done.stderr.count("\n") == 1
