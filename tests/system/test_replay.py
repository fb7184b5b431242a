"""A live session, hard cuts and all, is recorded, and its recording gives the same latents again."""

import time
from collections.abc import Callable

import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.stage0.timeline import read_script, write_script
from pp1_orchestrator.types import Control, PromptUpdate, TimelineEntry, Transition, WeightedPrompt
from tests.system.in_process import Run, open_stream, run_script

GREEN = "a green square moving right on a white background"
YELLOW = "a yellow triangle moving up on a black background"
BLEND = (WeightedPrompt(GREEN, 1.0), WeightedPrompt(YELLOW, 3.0))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def play(run: Run) -> None:
    """What a performer does, each move when the one before it has had its effect."""
    session = run.session
    moves = [
        lambda: session.update_prompt(PromptUpdate(prompt=GREEN)),
        lambda: session.control(Control("hard_cut")),
        lambda: session.update_prompt(PromptUpdate(prompts=BLEND, transition=Transition(4))),
        lambda: session.control(Control("seed", 7)),
        lambda: session.update_prompt(PromptUpdate(prompt=YELLOW, cut="hard")),
        lambda: session.update_prompt(PromptUpdate(prompt=GREEN, cut="recache")),
        lambda: session.set_timeline([TimelineEntry(chunk=1, prompt=YELLOW)], relative=True),
    ]
    session.start()
    for move in moves:
        chunk = session.state()["chunk"]
        wait_for(lambda chunk=chunk: session.state()["chunk"] > chunk + 1)  # one that was planned after the last move
        move()
    last = session.state()["chunk"]
    wait_for(lambda: session.state()["chunk"] > last + 3)
    session.request_stop()
    assert session.done.wait(240)


@pytest.mark.parametrize("overlap", ["stage0_owned", "decode_thread"])
def test_a_live_session_replays_to_the_same_latents(tmp_path, overlap):
    with open_stream(f"overlap={overlap}") as live:
        play(live)
        assert live.session.failure is None
    path = tmp_path / "recording.yaml"
    write_script(live.instruments.record.entries(), path, "live")
    entries = read_script(path)
    assert [entry.cut for entry in entries].count("hard") >= 3
    assert {entry.seed for entry in entries} >= {42, 7}
    replayed, _ = run_script("seed=99", chunks=live.instruments.record.chunks, script=entries)
    assert replayed.latents_sha256 == live.summary().latents_sha256
    assert replayed.pixels_sha256 == live.summary().pixels_sha256


def test_chunks_that_a_cut_threw_away_are_made_and_thrown_away_again():
    script = [TimelineEntry(chunk=0, prompt=GREEN), TimelineEntry(chunk=4, cut="hard", dropped=2)]
    summary, run = run_script(chunks=7, script=script)
    assert [chunk.chunk_index for chunk in run.sink.chunks] == [0, 1, 4, 5, 6]
    assert summary.frames == 9 + 12 + 9 + 12 + 12


def test_an_update_of_a_dropped_chunk_is_shown_by_the_next_one():
    script = [TimelineEntry(chunk=1, prompt=YELLOW), TimelineEntry(chunk=2, cut="hard", dropped=1)]
    summary, run = run_script(chunks=4, script=script)
    assert [update.applied_chunk for update in summary.prompt_updates] == [0, 2]
    assert run.sink.chunks[1].update_ids == ("u2",)
    count = run.instruments.metrics.registry.get_sample_value
    assert count("pp1_prompt_updates_total", {"outcome": "applied"}) == 2  # once, though it was in two plans
    assert count("pp1_epochs_total", {"reason": "planned"}) == 1


def test_the_past_cannot_be_planned():
    with open_stream() as run:
        run.session.start()
        wait_for(lambda: run.session.state()["chunk"] >= 2)
        with pytest.raises(RequestError, match="chunk 0 is past"):
            run.session.set_timeline([TimelineEntry(chunk=0, prompt=GREEN)], relative=False)
        first = run.session.set_timeline([TimelineEntry(chunk=500, prompt=GREEN)], relative=True)
        assert [entry.chunk for entry in run.session.timeline()] == [first + 500]
        run.session.set_timeline([], relative=True)
        assert run.session.timeline() == []
