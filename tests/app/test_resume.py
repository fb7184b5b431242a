"""run.resume and run.show: what a stream begins with, and what is kept of it."""

import contextlib
import logging
import threading

import msgspec
import pytest
import yaml

from pp1_orchestrator.app.resume import ShowKeeper, StreamStart, stream_start
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.stage0 import show_file
from pp1_orchestrator.types import TimelineEntry
from tests.stage0.test_show import SHOW, keep
from tests.system.in_process import CONF, make_settings


@pytest.fixture
def settings(tmp_path):
    return lambda *choices: make_settings("run=serve", f"outputs={tmp_path}", *choices)[0]


@pytest.fixture
def old(tmp_path):
    """The folder of a run of the show `main`."""
    return keep(tmp_path / "2030-01-01" / "10-00-00").parent


def begin(tmp_path, settings, given=()) -> StreamStart:
    out = tmp_path / "2030-01-02" / "10-00-00"
    out.mkdir(parents=True, exist_ok=True)
    return stream_start(settings, given, out)


def test_the_show_goes_on(tmp_path, settings, old):
    start = begin(tmp_path, settings())
    assert start.script == SHOW.script(())
    assert (start.history, start.clients) == (SHOW.history, SHOW.clients)
    start.locks.close()
    assert begin(tmp_path, settings(), {"seed"}).script == SHOW.script({"seed"})


@pytest.mark.parametrize("choices", [("run.resume=never",), ("run.show=another",)])
def test_another_show_begins_anew(tmp_path, settings, old, choices):
    assert begin(tmp_path, settings(*choices)) == StreamStart([])


def test_a_script_is_a_show_from_its_start(tmp_path, settings, old):
    script = tmp_path / "script.yaml"
    script.write_text("- {chunk: 2, prompt: a star}\n")
    start = begin(tmp_path, settings(f"run.script={script}"))
    assert (start.script, list(start.history)) == ([TimelineEntry(chunk=2, prompt="a star")], [])


def test_two_runs_never_continue_the_same_one(tmp_path, settings, old, caplog):
    with begin(tmp_path, settings()).locks:
        assert begin(tmp_path, settings()).script == []
        assert caplog.messages[-1] == f"the show main begins anew: {old}: another program is running this show"
        with pytest.raises(ConfigError, match=r"^run\.resume=.*another program is running this show$"):
            begin(tmp_path, settings(f"run.resume={old}"))
    assert begin(tmp_path, settings()).script == SHOW.script(())


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"version": 9, "name": "main", "show": 1}'])
def test_what_cannot_be_read_begins_anew_with_one_line(tmp_path, settings, old, caplog, damage):
    (old / show_file.FILE).write_bytes(damage)
    assert begin(tmp_path, settings()) == StreamStart([])
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert lines[0].getMessage().startswith(f"the show main begins anew: {old / show_file.FILE}: ")
    with show_file.locked(old):
        pass


def test_a_run_that_is_named_is_taken_or_refused(tmp_path, settings, old):
    show = msgspec.structs.replace(SHOW, seed=99)
    other = keep(tmp_path / "elsewhere", show, name="theirs")
    for named in (other, other.parent):
        with (start := begin(tmp_path, settings(f"run.resume={named}"))).locks:
            assert start.script == show.script(())
    with pytest.raises(
        ConfigError, match=r"^run\.resume=/nowhere: /nowhere: can't be read: No such file or directory$"
    ):
        begin(tmp_path, settings("run.resume=/nowhere"))


def test_only_serving_continues_a_show():
    modes = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["resume"] for path in CONF.glob("run/*.yaml")}
    assert modes == {"serve": "auto", "bench": "never", "plan": "never", "fetch": "never", "check": "never"}
    with pytest.raises(ConfigError, match=r"^run\.resume=auto: run=bench continues no show; possible: never$"):
        make_settings("run=bench", "run.resume=auto")


def polled(keeper: ShowKeeper) -> None:
    assert keeper._poll(0.0, 0.0)


@pytest.fixture
def kept(tmp_path):
    """A keeper whose thread is not waited for, and the show that it is to keep."""
    now = [SHOW]
    keeper = ShowKeeper(lambda: now[0], "main", tmp_path, contextlib.ExitStack())
    yield keeper, now
    keeper.close()


def test_it_is_written_when_it_has_changed_and_at_the_end(tmp_path, kept):
    keeper, now = kept
    path = tmp_path / show_file.FILE
    polled(keeper)
    first = path.stat().st_ino
    polled(keeper)
    assert path.stat().st_ino == first
    now[0] = msgspec.structs.replace(SHOW, seed=8)
    polled(keeper)
    assert show_file.read(path).seed == 8
    now[0] = msgspec.structs.replace(SHOW, seed=9)
    keeper.close()
    assert show_file.read(path).seed == 9
    assert "show" not in {thread.name for thread in threading.enumerate()}


def test_a_disk_that_fails_is_told_once_and_the_show_is_kept_later(tmp_path, kept, caplog):
    keeper, _ = kept
    blocker = tmp_path / show_file.NEW
    blocker.mkdir()
    for _ in range(3):
        polled(keeper)
    assert len([line for line in caplog.messages if line.startswith("the show can't be kept: ")]) == 1
    blocker.rmdir()
    polled(keeper)
    assert show_file.read(tmp_path / show_file.FILE) == SHOW


def test_a_timeline_that_is_too_large_is_left_out(tmp_path, kept, caplog):
    keeper, now = kept
    entries = tuple(TimelineEntry(chunk=n, prompt=f"{n} " + "x" * 1900) for n in range(3000))
    now[0] = msgspec.structs.replace(SHOW, timeline=entries)
    polled(keeper)
    assert show_file.read(tmp_path / show_file.FILE) == msgspec.structs.replace(SHOW, timeline=())
    assert "the timeline is too large to be kept with the show" in caplog.messages


def test_a_folder_that_another_run_uses_is_left_to_it(tmp_path, caplog):
    with show_file.locked(tmp_path):
        ShowKeeper(lambda: SHOW, "main", tmp_path, contextlib.ExitStack()).close()
    assert not (tmp_path / show_file.FILE).exists()
    assert "this show can't be continued later" in caplog.text


def test_before_anything_is_shown_nothing_is_kept(tmp_path):
    ShowKeeper(lambda: None, "main", tmp_path, contextlib.ExitStack()).close()
    assert not (tmp_path / show_file.FILE).exists()
