"""The rules that every target is under can be broken, and a run keeps what broke them."""

import asyncio
import logging
import threading
import time

import pytest

from tests.fuzz import engines
from tests.fuzz.event_loop import PersistentLoop
from tests.fuzz.oracle import EVERY, ONE_INPUT_MB, THREADS, Finding, Guard, check_line

log = logging.getLogger(__name__)


def nothing() -> None:
    """A target that always works."""


def hold_memory(_: bytes) -> None:
    assert bytearray(b"x") * (ONE_INPUT_MB << 21)


def log_an_error(_: bytes) -> None:
    log.error("something failed")


@pytest.mark.parametrize("text", ["", " ", "a\nb", "a\u2028b", "a" * 2000])
def test_an_error_in_other_than_one_line_is_a_finding(text):
    check_line(ValueError("one line"))
    with pytest.raises(Finding):
        check_line(ValueError(text))


@pytest.mark.parametrize(("act", "says"), [(hold_memory, "one input took .* MB"), (log_an_error, "errors were logged")])
def test_what_an_input_must_not_do_is_a_finding(act, says):
    guard = Guard(lambda data: act(data) if data else None, nothing)
    guard(b"")
    with pytest.raises(Finding, match=says):
        guard(b"x")


def test_threads_that_pile_up_are_a_finding():
    end, started = threading.Event(), []

    def start_a_thread(data: bytes) -> None:
        if data:
            started.append(threading.Thread(target=end.wait))
            started[-1].start()

    guard = Guard(start_a_thread, nothing)
    for _ in range(EVERY):
        guard(b"")
    try:
        for _ in range(THREADS + 1):
            guard(b"x")
        with pytest.raises(Finding, match="threads have grown"):
            guard.look()
    finally:
        end.set()
        for thread in started:
            thread.join()


def test_a_task_that_fails_unseen_or_stays_is_a_finding():
    loop = PersistentLoop()

    async def leave_one(work) -> None:
        asyncio.get_running_loop().call_soon(work)
        await asyncio.sleep(0)

    with pytest.raises(Finding, match="ZeroDivisionError"):
        loop.run(leave_one(lambda: 1 / 0))
    loop.run(leave_one(nothing))


def test_a_run_keeps_one_input_of_each_kind(tmp_path, capsys):
    def fail(data: bytes) -> None:
        if data == b"bad":
            raise KeyError("no such key")
        if data:
            raise ValueError("no number")

    run = engines.Run(Guard(fail, nothing), 60, tmp_path)
    for data in (b"", b"bad", b"bad", b"1", b"2", b"3"):
        run(data)
    assert not run.is_over
    assert run.finish() == 1
    assert sorted(path.read_bytes() for path in tmp_path.glob("finding-*[!t]")) == [b"1", b"bad"]
    assert "6 executions" in capsys.readouterr().out
    assert engines.Run(Guard(fail, nothing), 0, tmp_path).finish() == 0


def test_the_time_of_a_run_ends(tmp_path):
    run = engines.Run(Guard(lambda data: None, nothing), 0.01, tmp_path)
    time.sleep(0.02)
    assert run.is_over
