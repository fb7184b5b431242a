"""Ranks that torchrun has started make the same video as ranks of our own, and torchrun starts them anew."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.in_process import SMALL, run_script
from tests.system.program import run_to_end

ROOT = Path(__file__).resolve().parents[2]
ON_CPU = ("layout.device=cpu", "layout.mesh_device=cpu", "layout.backend=gloo", "layout.threads=1")
SPLIT = ("layout.shard.qk=false", "layout.shard.cross_attention=false")
"""As with layout=cpu."""
CHUNKS, WAIT_S = 40, 240


def torchrun(folder: Path, ranks: int, restarts: int = 0, run: str = "bench") -> subprocess.Popen[str]:
    words = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", f"--max-restarts={restarts}"]
    program = [
        "-m",
        "pp1_orchestrator",
        "layout=torchrun",
        f"run={run}",
        f"run.chunks={CHUNKS}",
        *SMALL,
        *ON_CPU,
        *SPLIT,
    ]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, *words, *program, "log.format=json", f"hydra.run.dir={folder / 'out'}"],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def lines(folder: Path) -> list[dict]:
    """What the ranks have logged, each with its rank and process."""
    found = re.findall(r"^\{.*\}$", (folder / "log").read_text(), re.MULTILINE)
    return [json.loads(line) for line in found]


def pids(folder: Path, message: str) -> dict[int, int]:
    """The newest process of each rank that has said so."""
    return {line["rank"]: line["pid"] for line in lines(folder) if line["message"] == message}


def wait_for(folder: Path, process: subprocess.Popen[str], message: str) -> None:
    end = time.monotonic() + WAIT_S
    while not any(line["message"] == message for line in lines(folder)):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.05)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
def test_a_killed_rank_is_started_anew_with_all_others_and_the_video_is_the_same(tmp_path):
    process = torchrun(tmp_path, 3, restarts=1)
    try:
        wait_for(tmp_path, process, "the stream is ready, it was starting")
        first = pids(tmp_path, "joined the others")
        os.kill(first[2], signal.SIGKILL)
        assert process.wait(WAIT_S) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
    second = pids(tmp_path, "joined the others")
    assert set(second) == {1, 2}
    assert not set(first.values()) & set(second.values())
    assert all(gone(pid) for pid in (*first.values(), *second.values()))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    ours, _ = run_script("layout=cpu", "run.warmup_chunks=10", chunks=CHUNKS)
    assert (summary["latents_sha256"], summary["pixels_sha256"]) == (ours.latents_sha256, ours.pixels_sha256)


@pytest.mark.slow
def test_nothing_is_left_when_torchrun_itself_is_killed(tmp_path):
    process = torchrun(tmp_path, 2)
    wait_for(tmp_path, process, "the stream is ready, it was starting")
    mesh = pids(tmp_path, "joined the others")
    rank_0 = pids(tmp_path, "the stream is ready, it was starting")
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + WAIT_S
    while not all(gone(pid) for pid in (*mesh.values(), *rank_0.values())):
        assert time.monotonic() < end, (tmp_path / "log").read_text()
        time.sleep(0.05)


def test_without_torchrun_it_is_one_line(tmp_path):
    done = run_to_end("layout=torchrun", "run=bench", "run.chunks=1", *ON_CPU, out=tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "configuration error: layout=torchrun: WORLD_SIZE is not set; start it with torchrun --standalone -m …"
    )


@pytest.mark.slow
def test_a_plan_is_rank_0s_alone_and_the_others_end_at_once(tmp_path):
    process = torchrun(tmp_path, 3, run="plan")
    try:
        assert process.wait(WAIT_S) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
    said = [line["message"] for line in lines(tmp_path)]
    assert [said.count(f"rank {rank} has no part in run=plan") for rank in (0, 1, 2)] == [0, 1, 1]
    assert (tmp_path / "out" / "plan.json").exists()
