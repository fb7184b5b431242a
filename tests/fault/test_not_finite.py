"""Latents that are no numbers: never shown, a new epoch instead, and a mesh that gives nothing else is given up."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import pp1_orchestrator
from pp1_orchestrator.models.checkpoints.manifest import write_manifest
from pp1_orchestrator.types import TimelineEntry
from tests.fault.faulty_stream import FaultyStream, faulty_stream
from tests.system.in_process import open_stream

TINY = Path(pp1_orchestrator.__file__).parent / "models" / "tiny"
INLINE = ("layout=inline", "run.chunks=12")
BAD = 4
OTHERS = ("sync", "loop_ahead", "decode_thread")
WORDS = "the mesh makes latents that are not finite"


@pytest.mark.parametrize("overlap", ["sync", "stage0_owned", "loop_ahead", "decode_thread"])
def test_what_is_not_finite_is_not_shown(overlap):
    with faulty_stream("not_finite", *INLINE, f"overlap={overlap}", chunk=BAD) as stream:
        assert stream.session.done.wait(240)
        assert stream.session.failure is None
        assert all(torch.isfinite(latents).all() for latents in stream.run.kept.latents)
        assert [chunk.chunk_index for chunk in stream.chunks if chunk.cache_epoch == 0] == [0, 1, 2, 3]
        clean = next(chunk for chunk in stream.chunks if chunk.cache_epoch == 1)
        # With a decoder on a thread of its own, two more may have been planned before it finds out.
        assert clean.chunk_index - BAD <= (3 if overlap == "decode_thread" else 2)
        assert [event["reason"] for event in stream.of("epoch")] == ["nan"]
        assert stream.sample("pp1_epochs_total", reason="nan") == 1
        assert stream.sample("pp1_frames_dropped_total", reason="nan") in (12, 24)  # the next one may be found out, too
        assert stream.of("restarting") == []
        assert stream.session.state()["epoch"] == 1


def test_a_dropped_first_chunk_counts_the_frames_that_it_would_have_had():
    with faulty_stream("not_finite", *INLINE, "overlap=sync", chunk=0) as stream:
        assert stream.session.done.wait(240)
        assert stream.sample("pp1_frames_dropped_total", reason="nan") == 9


def test_an_update_of_a_chunk_that_is_not_shown_goes_with_the_next_one():
    script = [TimelineEntry(chunk=BAD, prompt="a blue square moving up on a white background")]
    with faulty_stream("not_finite", *INLINE, chunk=BAD, script=script) as stream:
        assert stream.session.done.wait(240)
        first, blue = (update.id for update in stream.session.updates())
        assert [chunk.update_ids for chunk in stream.chunks if chunk.update_ids] == [(first,), (blue,)]
        assert next(chunk.cache_epoch for chunk in stream.chunks if blue in chunk.update_ids) == 1


@pytest.fixture
def broken(tmp_path) -> str:
    """The shipped model with one weight that is no number: every chunk is like that."""
    shutil.copytree(TINY, tmp_path / "model")
    path = tmp_path / "model" / "generator" / "model.safetensors"
    weights = load_file(path)
    next(iter(weights.values())).view(-1)[0] = torch.nan
    save_file(weights, path)
    write_manifest(path.parent, [path.name], [], {})
    return f"model.root={tmp_path / 'model'}"


@pytest.mark.parametrize("overlap", ["stage0_owned", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_mesh_that_makes_nothing_else_is_started_anew_then_given_up(broken, overlap):
    choices = ("run.restarts=1", "supervision.pauses_s=[0]", "run.chunks=100", f"overlap={overlap}")
    with open_stream(*INLINE, broken, *choices) as run:
        stream = FaultyStream(run)
        run.session.start()
        assert run.session.done.wait(240)
        words = f"{WORDS} (epochs in a row: 3), and no restart is left: 1 within 600 s are allowed; rank 1 is on cpu"
        assert str(run.session.failure) == words
        assert stream.chunks == []
        assert stream.restarts("error") == 1
        assert [event["reason"] for event in stream.of("epoch")] == ["nan", "nan", "restart", "nan", "nan"]


def test_a_run_without_restarts_ends_at_the_first_one(broken):
    with open_stream(*INLINE, broken, "run.chunks=1") as run:
        run.session.start()
        assert run.session.done.wait(240)
        assert str(run.session.failure) == f"{WORDS} (epochs in a row: 1)"
