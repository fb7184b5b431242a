"""A lost mesh under every overlap and every routing: what was promised to come still comes."""

import os
import signal
import time

import pytest

from pp1_orchestrator.types import Control, PromptUpdate, Transition
from tests.system.in_process import open_stream, run_script
from tests.timing import scaled

CHOICES = ("layout=cpu", "layout.mesh_ranks=1", "run.restarts=3", "supervision.pauses_s=[0]", "run.chunks=100000")
WAIT_S = 240
BLUE = "a blue square moving up on a white background"


def wait_for(run, condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert run.session.failure is None, run.session.failure
        assert time.monotonic() < end
        time.sleep(0.01)


def kill_leader(run):
    os.kill(run.stream.ranks()["1"]["pid"], signal.SIGKILL)


def restarts(run):
    return run.instruments.metrics.registry.get_sample_value("pp1_mesh_restarts_total", {"reason": "death"})


@pytest.mark.parametrize("overlap", ["sync", "stage0_owned", "loop_ahead", "decode_thread"])
def test_every_overlap_goes_on_with_a_new_mesh(overlap):
    with open_stream(*CHOICES, f"overlap={overlap}") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 2)
        kill_leader(run)
        wait_for(run, lambda: run.sink.chunks[-1].cache_epoch == 1 and run.session.state()["state"] == "ready")
        assert restarts(run) == 1
        numbers = [chunk.chunk_index for chunk in run.sink.chunks]
        assert numbers == sorted(set(numbers))
        epochs = [chunk.cache_epoch for chunk in run.sink.chunks]
        assert epochs == sorted(epochs)
        calls = [record.call_id for record in run.instruments.chunk_log.records()]
        assert calls == sorted(set(calls))
    assert run.session.failure is None
    assert run.session.state()["state"] == "stopped"


def test_a_mesh_that_is_lost_while_rank_0_decodes_is_started_anew():
    """The next envelope has been sent by then, and nobody has waited for it yet."""
    with open_stream(*CHOICES, "overlap=loop_ahead", "debug.decode_s=0.6") as run:
        run.session.start()
        wait_for(run, lambda: len(run.kept.planned_chunks) - len(run.sink.chunks) == 2 and run.sink.chunks)
        kill_leader(run)
        wait_for(run, lambda: run.sink.chunks[-1].cache_epoch == 1)
        assert restarts(run) == 1
    assert run.session.failure is None


HANGS = ("debug=fault", "debug.fault.kind=hang_decoding", "debug.fault.chunk=2")


def test_a_lost_mesh_has_no_successor_while_its_chunk_is_being_decoded():
    """Two threads would use one decoder."""
    hangs = (*HANGS, f"debug.fault.seconds={min(40, scaled(6)):.0f}")
    with open_stream(*CHOICES, *hangs, "overlap=decode_thread", "deadlines.stop=1") as run:
        run.session.start()
        wait_for(run, lambda: len(run.kept.planned_chunks) > 4)
        kill_leader(run)
        assert run.session.done.wait(WAIT_S)
        assert str(run.session.failure) == "rank 0's work for the lost mesh did not end in time"


def test_results_of_a_lost_mesh_that_wait_for_the_decoder_are_not_waited_for():
    """Only what is being decoded is, and perhaps one more that is taken up before the loss is seen."""
    decode_s = min(6.0, scaled(1))  # longer than a chunk takes to be made
    slow = ("overlap=decode_thread", "overlap.d_out=4", f"debug.decode_s={decode_s}", f"deadlines.stop={3 * decode_s}")
    with open_stream(*CHOICES, *slow) as run:
        run.session.start()
        wait_for(run, lambda: len(run.kept.planned_chunks) - len(run.sink.chunks) > 5)
        shown = len(run.sink.chunks)
        kill_leader(run)
        wait_for(run, lambda: run.session.state()["epoch"] == 1)
        assert len(run.sink.chunks) <= shown + 2
        wait_for(run, lambda: restarts(run) == 1 and run.session.state()["state"] == "starting")


@pytest.mark.parametrize("routing", ["rank0_encoder", "mesh_encoder", "hybrid_cache"])
def test_a_transition_that_was_on_its_way_is_at_its_target(routing):
    """The update is promised to become visible, and the new mesh knows nothing of where the transition came from."""
    with open_stream(*CHOICES, f"routing={routing}") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 1)
        name = run.session.update_prompt(PromptUpdate(prompt=BLUE, transition=Transition(steps=1000))).id
        wait_for(run, lambda: run.session.state()["prompt"] == BLUE)
        kill_leader(run)
        wait_for(run, lambda: run.sink.chunks[-1].cache_epoch == 1)
        assert run.session.state()["prompt"] == BLUE
        assert [name in chunk.update_ids for chunk in run.sink.chunks].count(True) == 1
        at_target = next(f for f in run.kept.planned_chunks if f.record.cache_epoch == 1)
        assert at_target.plan.init_cache
        assert at_target.plan.reset_crossattn_cache
        recipe = at_target.plan.recipe
        assert recipe is None or (recipe.source_epoch is None and recipe.texts == (BLUE,))


def test_a_transition_that_is_asked_for_meanwhile_arrives_at_once():
    """It has nothing to start from: what was shown before went with the mesh, of which one start is enough."""
    with open_stream(*CHOICES, "routing=mesh_encoder", "supervision.pauses_s=[0.5]") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 1)
        kill_leader(run)
        wait_for(run, lambda: run.session.state()["state"] == "restarting")
        run.session.update_prompt(PromptUpdate(prompt=BLUE, transition=Transition(steps=1000)))
        wait_for(run, lambda: run.sink.chunks[-1].cache_epoch == 1)
        assert run.session.state()["prompt"] == BLUE
        assert restarts(run) == 1


def test_a_recording_with_a_restart_in_a_transition_gives_the_same_latents():
    with open_stream(*CHOICES) as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 1)
        run.session.update_prompt(PromptUpdate(prompt=BLUE, transition=Transition(steps=1000)))
        wait_for(run, lambda: run.session.state()["prompt"] == BLUE)
        kill_leader(run)
        wait_for(run, lambda: [chunk.cache_epoch for chunk in run.sink.chunks].count(1) > 2)
        run.session.request_stop()
        assert run.session.done.wait(WAIT_S)
    record = run.instruments.record
    replayed, _ = run_script("layout=cpu", "layout.mesh_ranks=1", chunks=record.chunks, script=record.entries())
    assert replayed.latents_sha256 == run.summary().latents_sha256


def test_a_mesh_that_is_lost_while_the_stream_ends_is_not_missed():
    with open_stream(*CHOICES, "debug.mesh_s=0.5") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 0)
        run.session.request_stop()
        kill_leader(run)
        assert run.session.done.wait(WAIT_S)
    assert run.session.failure is None
    assert run.session.state()["state"] == "stopped"


def test_a_mesh_that_is_lost_while_paused_is_there_again_at_resume():
    with open_stream(*CHOICES) as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 1)
        run.session.control(Control(action="pause"))
        wait_for(run, lambda: len(run.kept.planned_chunks) == len(run.sink.chunks))
        kill_leader(run)
        wait_for(run, lambda: run.session.state()["state"] == "starting")
        assert run.session.ready()
        run.session.control(Control(action="resume"))
        wait_for(run, lambda: run.sink.chunks[-1].cache_epoch == 1)


def test_a_stop_does_not_wait_for_a_pause():
    with open_stream(*CHOICES, "supervision.pauses_s=[60]") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 1)
        kill_leader(run)
        wait_for(run, lambda: run.session.state()["state"] == "restarting")
    assert run.session.failure is None
    assert run.session.done.is_set()


def test_no_restart_means_that_the_run_fails_at_once():
    with open_stream(*CHOICES, "run.restarts=0") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 1)
        kill_leader(run)
        assert run.session.done.wait(WAIT_S)
        assert str(run.session.failure) == "rank 1 ended with exit code -9"
        assert run.session.state()["state"] == "failed"


def test_used_up_restarts_fail_the_run_in_one_line():
    with open_stream(*CHOICES, "run.restarts=1") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 1)
        kill_leader(run)
        wait_for(run, lambda: run.sink.chunks[-1].cache_epoch == 1)
        kill_leader(run)
        assert run.session.done.wait(WAIT_S)
        words = "rank 1 ended with exit code -9, and no restart is left: 1 within 600 s are allowed; "
        words += "rank 1 is on cpu"
        assert str(run.session.failure) == words
