"""The recorder: every frame is in the file, also after a kill, and failures reach the producer."""

import fcntl
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import av
import pytest

from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.media.mp4_sink import Mp4Recorder
from tests.media.numbered_frames import SIZE, chunk, read_number

ROOT = Path(__file__).parents[2]
PAGE_BYTES = 4096
FRAMES = 6
"""In a chunk."""


def numbers_in(path) -> list[int]:
    with av.open(str(path)) as container:
        return [read_number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_every_frame_is_in_the_file_in_order(tmp_path):
    path = tmp_path / "stream.mp4"
    recorder = Mp4Recorder(path, fps=16, height=SIZE, width=SIZE)
    for index in range(12):
        assert recorder.wait_for_room(0)
        recorder.put(chunk(index))
    recorder.flush()
    recorder.close()
    recorder.close()
    assert numbers_in(path) == list(range(72))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (SIZE, SIZE, 16)
        assert (container.start_time, container.duration) == (0, 72 / 16 * 1_000_000)


def test_a_file_of_a_killed_program_can_be_read(tmp_path):
    path = tmp_path / "stream.mp4"
    script = textwrap.dedent(f"""
        import os, signal, sys, time
        from pathlib import Path
        from pp1_orchestrator.media.mp4_sink import Mp4Recorder
        from tests.media.numbered_frames import chunk
        recorder = Mp4Recorder(Path({str(path)!r}), fps=16, height={SIZE}, width={SIZE})
        for index in range(40):
            recorder.put(chunk(index))
        while not recorder._chunks.empty():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=os.environ, timeout=120)
    assert done.returncode == -signal.SIGKILL
    numbers = numbers_in(path)
    assert len(numbers) >= 39 * FRAMES - 1  # the last chunk was being written
    assert numbers == list(range(len(numbers)))


def test_a_disk_that_hangs_is_given_up(tmp_path):
    """A pipe that nobody reads takes a page, and then nothing, as a network's disk that has gone."""
    path = tmp_path / "stream.mp4"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PAGE_BYTES)
    recorder = Mp4Recorder(path, fps=16, height=SIZE, width=SIZE, stall_s=1.0)
    try:
        recorder.put(chunk(0, frames=150))
        with pytest.raises(Stage0Error, match=r"stream\.mp4: nothing could be written for 1 s"):
            recorder.close()
    finally:
        os.close(reader)
    recorder._thread.join(120)
    assert not recorder._thread.is_alive()


def test_a_producer_that_waits_for_room_hears_of_a_failure(tmp_path):
    """The pipe takes nothing until the queue is full; then it breaks, long before it counts as hanging."""
    path, errors = tmp_path / "stream.mp4", []
    os.mkfifo(path)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PAGE_BYTES)
    recorder = Mp4Recorder(path, fps=16, height=SIZE, width=SIZE, stall_s=600.0)

    def produce() -> None:
        try:
            for index in range(30):
                recorder.put(chunk(index, frames=24))
        except Stage0Error as error:
            errors.append(str(error))

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    while not recorder._chunks.full():
        time.sleep(0.01)
    os.close(reader)
    producer.join(60)
    assert [error.startswith(f"{path} can't be written: ") for error in errors] == [True]


def test_a_file_that_cannot_be_written_is_an_error_for_the_producer(tmp_path):
    recorder = Mp4Recorder(tmp_path / "missing" / "stream.mp4", fps=16, height=SIZE, width=SIZE)

    def write() -> None:
        recorder.put(chunk(0))  # raises already when the recorder's thread was quick
        recorder.close()

    with pytest.raises(Stage0Error, match=r"stream\.mp4"):
        write()
