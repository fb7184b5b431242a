"""A stream in a Python program: its pixels, receipts, controls, errors and end. In one process and small."""

import asyncio
import hashlib
import shutil
import threading
import time

import numpy as np
import pytest
import torch

from pp1_orchestrator import PromptUpdate, Settings, Stream, TimelineEntry, WeightedPrompt
from pp1_orchestrator.errors import ConfigError, MeshError, RequestError, Stage0Error
from tests.system.in_process import SMALL, run_script

LIMIT_S = 240.0
INLINE = ("layout=inline", *SMALL)
TORCHRUN = ("layout=torchrun", "layout.device=cpu", "layout.mesh_device=cpu", "layout.backend=gloo")
PROMPT = "a green square moving right on a white background"


def small(*overrides: str) -> Settings:
    return Settings.compose(*INLINE, *overrides)


def take_all(stream: Stream) -> None:
    """Take what was made before a pause."""
    while stream.next_chunk(1.0):
        pass


def test_the_frames_are_those_of_a_bench():
    summary, _ = run_script(chunks=3)
    pixels, frames = hashlib.sha256(), 0
    with Stream(small("run.chunks=3")) as stream:
        for number, chunk in enumerate(stream):
            assert (chunk.index, chunk.epoch, chunk.seed, chunk.first_frame) == (
                number,
                0,
                stream.settings.seed,
                frames,
            )
            assert chunk.frames.dtype == np.uint8
            assert chunk.frames.shape[1:] == (64, 64, 3)
            assert {"mesh", "decode"} <= set(chunk.phases_ms)
            pixels.update(chunk.frames.data)
            frames += len(chunk.frames)
    assert (pixels.hexdigest(), frames) == (summary.pixels_sha256, summary.frames)


def test_a_prompt_gets_its_receipt_and_is_visible_when_its_chunk_is_taken():
    with Stream(small()) as stream:
        receipt = stream.update_prompt(PROMPT)
        chunk = next(chunk for chunk in stream if receipt.id in chunk.updates)
        told = [event["event"] for event in stream.events() if event.get("update") == receipt.id]
        assert (told, receipt.truncated) == (["accepted", "applied", "visible"], False)
        assert stream.state()["prompt"] == PROMPT
        blend = stream.update_prompt(prompts=[WeightedPrompt("a red circle"), WeightedPrompt("a blue circle", 3.0)])
        whole = stream.update_prompt(PromptUpdate("a star", cut="hard"))
        assert len({receipt.id, blend.id, whole.id}) == 3
        after = next(chunk for chunk in stream if whole.id in chunk.updates)
        assert after.epoch > chunk.epoch
        recorded = stream.recording()
    assert PROMPT in [entry.prompt for entry in recorded]


def test_controls_do_what_they_say():
    with Stream(small(), ahead=1) as stream:
        assert stream.next_chunk(LIMIT_S) is not None  # a cut before the first chunk would change nothing
        stream.set_seed(7)
        assert next(chunk for chunk in stream if chunk.seed == 7).epoch > 0
        epoch = stream.state()["epoch"]
        stream.hard_cut()
        assert next(chunk for chunk in stream if chunk.epoch > epoch).seed == 7
        first = stream.set_timeline([TimelineEntry(chunk=1, prompt=PROMPT)])
        assert [entry.chunk for entry in stream.timeline()] == [first + 1]
        next(chunk for chunk in stream if chunk.index == first + 1)
        assert stream.timeline() == []
        stream.pause()
        with pytest.raises(TimeoutError):
            take_all(stream)
        stream.resume()
        assert stream.next_chunk(LIMIT_S) is not None


def test_impossible_requests_are_refused_in_the_words_of_the_http_interface():
    with Stream(small()) as stream:
        for prompt, line in ((None, "prompt is missing"), ("", "is empty"), ("x" * 2001, "2000")):
            with pytest.raises(RequestError, match=line):
                stream.update_prompt(prompt)
        with pytest.raises(RequestError, match="value is -1; a seed is a whole number"):
            stream.set_seed(-1)
        with pytest.raises(RequestError, match=r"only run\.script can drop chunks"):
            stream.set_timeline([TimelineEntry(chunk=3, cut="hard", dropped=1)])
    with pytest.raises(RequestError, match=r"^the stream is not open$"):
        stream.update_prompt(PROMPT)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("run.prompt=' '",), "^run.prompt= : "),
        (("run=plan",), "^run=plan: .*choices: bench, serve$"),
        (TORCHRUN, "^layout=torchrun: for the command line only"),
        (("stream.height=65",), "^stream.height=65: must be a multiple of 16"),
        (("run.script=/no/such.yaml",), "/no/such.yaml"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_started(overrides, line):
    threads = threading.active_count()
    with pytest.raises(ConfigError, match=line):
        Stream(Settings.compose(*SMALL, *overrides)).open()
    assert threading.active_count() == threads
    with pytest.raises(ConfigError, match=r"^ahead=0: "):
        Stream(small(), ahead=0)


def test_a_stream_is_opened_once_and_closed_often():
    stream = Stream(small())
    stream.close()
    with pytest.raises(Stage0Error, match="opened once"):
        stream.open()
    with Stream(small()) as other:
        with pytest.raises(Stage0Error, match="opened once"):
            other.open()
        assert other.next_chunk(LIMIT_S) is not None
    other.close()
    assert list(other) == []


def test_nobody_waits_for_the_chunks_of_a_stream_that_is_not_open():
    stream = Stream(small())
    for take in (stream.next_chunk, stream.__next__, lambda: asyncio.run(stream.next_chunk_async())):
        with pytest.raises(RequestError, match=r"^the stream is not open$"):
            take()
    stream.close()
    assert stream.next_chunk() is None


def test_nor_of_one_that_could_not_be_opened(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(small().model.folder, folder)
    stream = Stream(small(f"model.root={folder}"))
    shutil.rmtree(folder / "vae")
    with pytest.raises(ConfigError, match="vae"):
        stream.open()
    assert stream.next_chunk() is None


def test_the_process_is_as_before_when_the_last_of_two_streams_is_closed():
    before = torch.get_num_threads()
    first, second = (Stream(small(f"layout.threads={before + 1}")) for _ in range(2))
    with first:
        second.open()
        assert first.next_chunk(LIMIT_S) is not None
    assert torch.get_num_threads() == before + 1
    assert second.next_chunk(LIMIT_S) is not None
    second.close()
    assert torch.get_num_threads() == before


def test_the_failure_of_a_stream_is_raised_after_its_last_chunk():
    fault = ("debug=fault", "debug.fault.kind=not_finite", "debug.fault.chunk=2", "debug.fault.rank=1")
    taken = []
    with Stream(small(*fault, "run=bench", "run.chunks=9")) as stream, pytest.raises(MeshError, match="not finite"):
        taken.extend(stream)
    assert [chunk.index for chunk in taken] == [0, 1]


def test_the_stream_waits_for_its_reader_and_that_is_no_hang():
    limits = ("deadlines.message=0.5", "deadlines.answer=0.5", "deadlines.decode=0.5", "stream.fps=120")
    with Stream(small(*limits), ahead=1) as stream:
        assert stream.next_chunk(LIMIT_S) is not None
        progress_s = 4 * 0.5 + 2 * 12 / 120  # after which a stream that makes no chunk counts as hung
        end = time.monotonic() + 2 * progress_s
        while time.monotonic() < end:
            time.sleep(0.1)
        made = stream.state()["chunk"]
        assert made <= 3
        assert [chunk.index for chunk, _ in zip(stream, range(5), strict=False)] == [1, 2, 3, 4, 5]


def test_another_thread_can_end_the_wait_of_the_reader():
    with Stream(small()) as stream:
        stream.pause()
        ended = threading.Thread(target=stream.close)
        threading.Timer(0.2, ended.start).start()
        for _ in stream:
            pass
        ended.join(LIMIT_S)
