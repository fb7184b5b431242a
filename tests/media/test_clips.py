"""Clips: what was shown is in the file with its own times, and nothing grows without end."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import av
import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.clip_writer import ClipLimits, ClipWriter
from pp1_orchestrator.media.clips import ClipRecorder
from pp1_orchestrator.media.media_settings import VideoSettings
from tests.media.numbered_frames import SIZE, Counted, numbered, read_number

FPS = 16
ROOT = Path(__file__).parents[2]
VIDEO = VideoSettings(SIZE, SIZE, FPS)
PLENTY = ClipLimits(seconds=60, bytes=10_000_000, kept=2)


class Usage(NamedTuple):
    """As of a disk."""

    free: int


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Scene:
    """A recorder, and the frames that are shown to it at made-up times, one frame apart."""

    def __init__(self, folder, limits=PLENTY) -> None:
        self.metrics, self.told = Counted(), []
        self.ended = threading.Event()
        self.recorder = ClipRecorder(folder, VIDEO, limits, self.metrics, self._tell)
        self.now = time.monotonic()

    def show(self, numbers, gap_s=1 / FPS) -> None:
        """Each as soon as the file has taken the one before, as a pacer that is slow enough would."""
        for number in numbers:
            before = self.frames()
            self.now = max(self.now + gap_s, time.monotonic())
            self.recorder.show(numbered(number), self.now)
            while self.frames() == before and not self.ended.is_set():
                time.sleep(0.001)

    def frames(self) -> int:
        newest = self.recorder.newest()
        return newest.frames if newest else -1

    def read(self, name) -> tuple[list[int], list[float]]:
        """Numbers of the frames in a clip's file, and when they are shown."""
        with av.open(str(self.recorder.file(name))) as container:
            frames = list(container.decode(video=0))
        return [read_number(f.to_ndarray(format="rgb24")) for f in frames], [f.time for f in frames]

    def _tell(self, clip) -> None:
        self.told.append((clip.id, clip.state, clip.ended))
        if clip.state != "recording":
            self.ended.set()


def test_a_clip_is_what_was_shown_with_its_times_and_begins_at_once(tmp_path):
    scene = Scene(tmp_path / "clips")
    scene.recorder.show(numbered(7), scene.now)
    assert scene.recorder.start().state == "recording"
    assert scene.recorder.file("c1") is None
    scene.show(range(8, 20))
    scene.show([20], gap_s=3)
    clip = scene.recorder.stop()
    numbers, times = scene.read("c1")
    assert numbers == list(range(7, 21))
    assert times[-1] - times[-2] == pytest.approx(3, abs=0.01)
    assert (clip.state, clip.ended, clip.frames) == ("ready", "asked", 14)
    assert clip.seconds == pytest.approx(times[-1] + 1 / FPS, abs=0.002)
    assert clip.bytes == (tmp_path / "clips" / "c1.mp4").stat().st_size
    assert scene.told == [("c1", "recording", None), ("c1", "ready", "asked")]


def test_a_file_begins_at_0_and_lasts_as_long_as_its_clip_after_a_pause_too(tmp_path):
    scene = Scene(tmp_path)
    scene.recorder.show(numbered(1), scene.now)
    scene.recorder.start()
    scene.show(range(2, 30))
    scene.show([30, 31], gap_s=0.5)  # paused
    clip = scene.recorder.stop()
    with av.open(str(scene.recorder.file("c1"))) as container:
        (stream,) = container.streams.video
        assert (container.start_time, stream.start_time) == (0, 0)
        assert container.duration == pytest.approx(clip.seconds * 1e6, abs=2000)
        assert stream.duration == pytest.approx(clip.seconds / (stream.time_base or 1), abs=200)


def test_a_clip_of_a_program_that_is_killed_can_be_read_to_its_last_frame_but_one(tmp_path):
    script = textwrap.dedent(f"""
        import os, signal, time
        from pathlib import Path
        from pp1_orchestrator.media.clip_writer import ClipWriter
        from tests.media.numbered_frames import numbered
        from tests.media.test_clips import PLENTY, VIDEO
        writer = ClipWriter("c1", Path({str(tmp_path / "c1.mp4")!r}), VIDEO, PLENTY, lambda clip: None)
        for number in range(48):
            while not writer.add(numbered(number), number / 16 + 2 * (number == 47)):
                time.sleep(0.01)
        while writer.clip().frames < 48:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=os.environ, timeout=120)
    assert done.returncode == -signal.SIGKILL
    with av.open(str(tmp_path / "c1.mp4")) as container:
        frames = list(container.decode(video=0))
    assert [read_number(frame.to_ndarray(format="rgb24")) for frame in frames] == list(range(47))
    assert [frame.time for frame in frames] == [number / 16 for number in range(47)]


@pytest.mark.parametrize(
    ("limits", "ended"),
    [(ClipLimits(1.0, 10_000_000, 2), "length"), (ClipLimits(60, 1, 2), "size")],
)
def test_a_clip_ends_by_itself_at_its_limits(tmp_path, limits, ended):
    scene = Scene(tmp_path, limits)
    scene.recorder.start()
    scene.show(range(200))
    assert scene.ended.wait(120)
    (clip,) = scene.recorder.clips()
    assert (clip.state, clip.ended) == ("ready", ended)
    assert clip.seconds <= limits.seconds
    assert len(scene.read("c1")[0]) == clip.frames
    with pytest.raises(RequestError, match="no clip is being recorded"):
        scene.recorder.stop()


@pytest.mark.parametrize("state", ["ready", "failed"])
def test_a_clip_that_ended_by_itself_holds_no_frame_and_misses_none(tmp_path, state):
    """From the moment it ends, before `on_change` returns."""
    path, ended, told = tmp_path / "c1.mp4", threading.Event(), threading.Event()
    if state == "failed":
        path.mkdir()

    def on_change(clip) -> None:
        if clip.state != "recording":
            ended.set()
            assert told.wait(120)

    writer = ClipWriter("c1", path, VIDEO, ClipLimits(1.0, 10_000_000, 2), on_change)
    shown = []
    for second in range(90):
        if second == 20:
            assert ended.wait(120)
        frame = numbered(second)
        shown.append(weakref.ref(frame))
        assert writer.add(frame, second)
    del frame
    told.set()
    writer.stop("asked")
    assert writer.clip().state == state
    assert [ref for ref in shown if ref() is not None] == []


def test_a_clip_that_can_not_be_finished_is_not_waited_for(tmp_path, caplog):
    """Its thread is held where it says that the file is complete."""
    told = threading.Event()

    def on_change(clip) -> None:
        if clip.state != "recording":
            told.wait(120)

    writer = ClipWriter("c1", tmp_path / "c1.mp4", VIDEO, ClipLimits(60, 10_000_000, 2, finish_s=0.2), on_change)
    writer.add(numbered(1), 0.0)
    writer.stop("stopped")
    assert caplog.messages == ["clip c1 is not finished after 0.2 s; is its disk there?"]
    told.set()
    writer.stop("stopped")
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("kept", [1, 2, 4])
def test_one_at_a_time_and_only_the_newest_are_kept(tmp_path, kept):
    scene = Scene(tmp_path, replace(PLENTY, kept=kept))
    scene.recorder.show(numbered(1), scene.now)
    made = [f"c{number}" for number in range(1, 6)]
    for count in range(1, 6):
        scene.recorder.start()
        with pytest.raises(RequestError, match="is being recorded; stop it first") as refused:
            scene.recorder.start()
        assert refused.value.status == 409
        scene.recorder.stop()
        names = made[:count][-kept:]
        assert [clip.id for clip in scene.recorder.clips()] == names
        assert sorted(path.stem for path in tmp_path.iterdir()) == names
    assert scene.recorder.file("c1") is None


def test_a_disk_without_room_refuses_and_a_file_that_cannot_be_written_fails_alone(tmp_path):
    scene = Scene(tmp_path, ClipLimits(60, 2**60, 2))
    with pytest.raises(RequestError, match="the disk has") as refused:
        scene.recorder.start()
    assert refused.value.status == 503
    scene = Scene(tmp_path / "clips")
    (tmp_path / "clips" / "c1.mp4").mkdir(parents=True)
    scene.recorder.start()
    assert scene.ended.wait(120)
    failed = scene.recorder.newest()
    assert failed is not None
    assert failed.state == "failed"
    scene.recorder.show(numbered(1), scene.now)
    scene.recorder.start()
    scene.recorder.close()
    assert scene.told[-1] == ("c2", "ready", "stopped")


@pytest.mark.parametrize("reason", ["disk", "threads"])
def test_a_clip_that_is_refused_costs_none_of_those_that_are_kept(tmp_path, monkeypatch, reason):
    scene = Scene(tmp_path)
    scene.recorder.show(numbered(1), scene.now)
    for _ in range(2):
        scene.recorder.start()
        scene.recorder.stop()
    before, told = scene.recorder.clips(), list(scene.told)
    with monkeypatch.context() as patched:
        if reason == "disk":
            patched.setattr("shutil.disk_usage", lambda _: Usage(free=PLENTY.bytes - before[0].bytes - 1))
        else:
            patched.setattr("threading.Thread.start", no_thread)
        with pytest.raises(RequestError) as refused:
            scene.recorder.start()
    assert refused.value.status == 503
    assert (scene.recorder.clips(), scene.told) == (before, told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c1.mp4", "c2.mp4"]
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free=PLENTY.bytes - before[0].bytes))
    assert scene.recorder.start().id == "c3"  # there is room: the oldest makes some
    scene.recorder.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c2.mp4", "c3.mp4"]


def test_a_file_that_is_behind_costs_frames_and_never_the_pacer(tmp_path):
    scene = Scene(tmp_path)
    scene.recorder.start()
    for number in range(400):
        scene.recorder.show(numbered(number), scene.now + number / FPS)
    clip = scene.recorder.stop()
    numbers, _ = scene.read("c1")
    assert numbers == sorted(set(numbers))
    assert clip.frames + scene.metrics.drops["slow_recorder"] == 400
