"""Streams with ranks in processes of their own: from scripts of any kind, opened again and again, never closed."""

import mmap
import os
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from pp1_orchestrator import Settings, Stream
from pp1_orchestrator.errors import MeshError, Stage0Error
from tests.library.growth import grown, held
from tests.system.in_process import SMALL
from tests.system.warm import ROOT
from tests.timing import scaled

LIMIT_S = 240.0
WARM_UP, TIMES = 3, 20
"""So often a stream is opened before it is measured: libraries keep what they make at their first use."""


def run_python(code: str, folder, *options: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *options, str(script)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S)


@pytest.mark.slow
def test_a_script_needs_no_guard_and_is_run_once(tmp_path):
    done = run_python(
        """
        import os, psutil, sys, torch
        from pp1_orchestrator import Settings, Stream

        print("once", __name__, __file__.endswith("script.py"))
        names = "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME"
        ours = lambda: (torch.get_num_threads(), *map(os.environ.get, names), sys.excepthook)
        before = ours()
        with Stream(Settings.compose("layout=cpu", stream={"height": 64, "width": 64}, run={"chunks": 2})) as stream:
            ranks = [rank["pid"] for rank in stream.state()["ranks"].values()]
            print(len(set(ranks)), [chunk.index for chunk in stream])
        print([pid for pid in ranks[1:] if psutil.pid_exists(pid)], __spec__, __file__.endswith("script.py"))
        assert ours() == before
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["once __main__ True", "3 [0, 1]", "[] None True"]


def test_a_second_stream_with_ranks_is_refused_and_leaves_the_first_alone():
    settings = Settings.compose("layout=cpu", *SMALL)
    second = Stream(settings)
    with Stream(settings) as first:
        with pytest.raises(Stage0Error, match=r"^this program has process groups .* or take layout=inline$"):
            second.open()
        with Stream(Settings.compose("layout=inline", *SMALL)) as beside:
            assert beside.next_chunk(LIMIT_S) is not None
        assert first.next_chunk(LIMIT_S) is not None
    with second:
        assert second.next_chunk(LIMIT_S) is not None


@pytest.mark.slow
def test_a_program_that_forgets_to_close_ends_and_so_do_its_ranks(tmp_path):
    done = run_python(
        """
        from pp1_orchestrator import Settings, Stream

        stream = Stream(Settings.compose("layout=cpu", stream={"height": 64, "width": 64})).open()
        next(stream)
        print(*(rank["pid"] for rank in stream.state()["ranks"].values()))
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 3
    end = time.monotonic() + LIMIT_S
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_lost_rank_is_replaced_while_the_program_iterates():
    with Stream(Settings.compose("layout=cpu", *SMALL, supervision={"pauses_s": [0]})) as stream:
        assert stream.next_chunk(LIMIT_S) is not None
        psutil.Process(stream.state()["ranks"]["1"]["pid"]).kill()
        assert next(chunk for chunk in stream if chunk.epoch > 0).frames.any()
        heard = {event["event"] for event in stream.events()}
        while "restarted" not in heard:  # it may be told after the first chunk
            assert stream.next_chunk(LIMIT_S) is not None
            heard |= {event["event"] for event in stream.events()}


@pytest.mark.slow
def test_a_lost_mesh_without_a_restart_is_raised():
    with Stream(Settings.compose("layout=cpu", *SMALL, run={"restarts": 0})) as stream:
        psutil.Process(stream.state()["ranks"]["1"]["pid"]).kill()
        with pytest.raises(MeshError, match="rank 1"):
            for _ in stream:
                pass


@pytest.mark.slow
def test_a_close_that_can_not_wait_for_the_mesh_ends_what_reads_its_answers_first(caplog):
    """Files that are closed under a thread that reads them may be another's by then."""
    stop_s = scaled(1)
    busy = (f"debug.mesh_s={3 * stop_s:.1f}", f"deadlines.stop={stop_s:.1f}")
    with Stream(Settings.compose("layout=cpu", *SMALL, *busy)) as stream:
        assert stream.next_chunk(LIMIT_S) is not None
        before = {thread.name for thread in threading.enumerate()}
    assert "stage0" in before
    assert not {"stage0", "mesh-comms"} & {thread.name for thread in threading.enumerate()}
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["cpu", "inline"])
def test_a_stream_that_is_opened_and_closed_leaves_nothing(layout):
    def use_streams(times: int) -> None:
        settings = Settings.compose(f"layout={layout}", *SMALL)
        for _ in range(times):
            with Stream(settings) as stream:
                assert stream.next_chunk(LIMIT_S) is not None

    use_streams(WARM_UP)
    before = held()
    use_streams(TIMES)
    assert grown(before, held()) == {}


@pytest.mark.slow
def test_what_is_left_is_found():
    """The control: of each kind one thing is left on purpose, and the measurement names it."""
    before, done = held(), threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    descriptor = os.open(os.devnull, os.O_RDONLY)
    process = subprocess.Popen(["sleep", "600"])
    memory = mmap.mmap(-1, 8 << 20)
    memory.write(b"x" * len(memory))
    try:
        found = grown(before, held())
    finally:
        done.set()
        thread.join()
        os.close(descriptor)
        process.kill()
        process.wait()
        memory.close()
    assert set(found) == {"threads", "descriptors", "processes", "memory"}
    before = held()
    allocated = b"x" * (8 << 20)
    assert set(grown(before, held())) == {"memory"}
    del allocated
    assert grown(before, held()) == {}
