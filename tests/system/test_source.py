"""Streams with an input: one video whatever the strategies, text alone with strength 1, cuts, restarts."""

import itertools
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch

from pp1_orchestrator.app.strategy_registry import OVERLAPS, ROUTINGS, SOURCE_MODES
from pp1_orchestrator.contract.envelope import INPUT_LATENTS
from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.media.input_requirements import INPUT_MODES
from pp1_orchestrator.media.mp4 import Mp4File
from pp1_orchestrator.media.png import write_png
from pp1_orchestrator.types import TimelineEntry
from tests.fault.test_strategies import kill_leader, wait_for
from tests.system.in_process import make_settings, open_stream, run_script

RED = "a red circle moving left on a blue background"
GREEN = "a green square moving right on a white background"
SCRIPT = [
    TimelineEntry(chunk=0, prompt=RED),
    TimelineEntry(chunk=2, prompt=GREEN, strength=0.5),
    TimelineEntry(chunk=3, cut="hard"),
    TimelineEntry(chunk=4, prompt=RED, cut="recache"),
]
CHUNKS = 6
MODES = ("noise", "motion_noise", "history")


def painted(index: int) -> np.ndarray:
    """A light square on a dark ground, which moves to the right."""
    frame = np.full((64, 64, 3), (20, 30, 90), dtype=np.uint8)
    left = 2 + index % 44
    frame[20:38, left : left + 18] = (230, 60, 50)
    return frame


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("input")
    with Mp4File(folder / "input.mp4", 16, 64, 64, Fraction(1, 16)) as file:
        for index in range(40):
            file.write(painted(index), index)
    write_png(painted(20), folder / "input.png")
    return {"file": folder / "input.mp4", "image": folder / "input.png"}


@pytest.fixture(scope="module")
def made(files):
    """The summary and the run of these choices, made once."""

    @cache
    def make(*choices: str, source: str = "file", chunks: int = CHUNKS, script=tuple(SCRIPT)):
        picked = (f"source={source}", f"source.path={files[source]}", *choices)
        return run_script(*picked, chunks=chunks, script=script)

    return make


def test_each_mode_that_has_requirements_has_a_class():
    assert SOURCE_MODES.keys() == INPUT_MODES.keys() - {"none"}


PAIRS = [("rank0_encoder", "sync"), ("mesh_encoder", "stage0_owned"), ("hybrid_cache", "decode_thread")]


@pytest.mark.parametrize("mode", MODES)
def test_routing_and_overlap_change_nothing(made, mode):
    choices = f"source.mode={mode}", "source.caption=a red square"
    found = {made(*choices, f"routing={r}", f"overlap={o}")[0].latents_sha256 for r, o in PAIRS}
    assert len(found) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_no_routing_and_no_overlap_changes_anything(made, mode):
    caption = "source.caption=a red square"
    pairs = [("rank0_encoder", overlap) for overlap in OVERLAPS] + [(routing, "stage0_owned") for routing in ROUTINGS]
    found = {made(f"source.mode={mode}", caption, f"routing={r}", f"overlap={o}")[0].latents_sha256 for r, o in pairs}
    assert len(found) == 1
    deep = made(f"source.mode={mode}", caption, "overlap.d_in=3", "overlap.d_out=2")[0]
    assert found == {deep.latents_sha256}


def test_a_caption_counts_only_where_the_input_is_history(made):
    noise, history = (
        [made(f"source.mode={mode}", *caption)[0].latents_sha256 for caption in ((), ("source.caption=a red square",))]
        for mode in ("noise", "history")
    )
    assert noise[0] == noise[1]
    assert history[0] != history[1]


def test_the_modes_differ_from_each_other_and_from_text_alone(made):
    found = {made(f"source.mode={mode}")[0].latents_sha256 for mode in MODES}
    alone = run_script(
        chunks=CHUNKS, script=[e for e in SCRIPT if e.chunk != 2] + [TimelineEntry(chunk=2, prompt=GREEN)]
    )
    assert len(found | {alone[0].latents_sha256}) == len(MODES) + 1


@pytest.mark.parametrize("mode", ["noise", "motion_noise"])
def test_strength_one_is_text_alone_bit_for_bit(made, mode):
    script = (TimelineEntry(chunk=0, prompt=RED), TimelineEntry(chunk=2, prompt=GREEN, cut="hard"))
    with_input = made(f"source.mode={mode}", "source.strength=1", chunks=4, script=script)[0]
    alone = run_script(chunks=4, script=script)[0]
    assert with_input.latents_sha256 == alone.latents_sha256
    assert with_input.pixels_sha256 == alone.pixels_sha256
    assert with_input.wire_bytes == alone.wire_bytes


@pytest.mark.parametrize(
    ("mode", "context"),
    [
        *(("noise", name) for name in ("none", "recompute_anchor", "recompute_synthetic", "recompute_latent")),
        *(("history", name) for name in ("recompute_synthetic", "recompute_latent")),
    ],
)
def test_every_context_and_overlap_gives_one_video(made, mode, context):
    choices = f"source.mode={mode}", f"context={context}"
    found = {made(*choices, f"overlap={o}", chunks=4)[0].latents_sha256 for o in ("stage0_owned", "sync")}
    assert len(found) == 1


@pytest.mark.parametrize("context", ["clean_pass", "none", "recompute_anchor", "recompute_latent"])
def test_an_image_start_continues_the_image(made, context):
    choices = (f"context={context}",)
    summary, run = made(*choices, source="image", chunks=4)
    assert {summary.latents_sha256} == {made(*choices, "overlap=sync", source="image", chunks=4)[0].latents_sha256}
    plans = [chunk.plan for chunk in run.kept.planned_chunks]
    assert [plan.current_start_frame for plan in plans] == [3, 6, 9, 3]
    assert [plan.init_cache for plan in plans] == [True, False, False, True]
    assert summary.frames == 4 * 12
    first = run.sink.chunks[0].frames[0].float()
    image = torch.from_numpy(painted(20)).float()
    assert (first - image).square().mean().sqrt() < (first - image.flip(1)).square().mean().sqrt()


def test_a_chunk_with_little_noise_shows_its_input(made):
    """Nothing is left to the model where there is nearly no noise: the pixels are those of the file."""
    _, run = made("source.mode=noise", "source.strength=0.02", chunks=2, script=(TimelineEntry(chunk=0, prompt=RED),))
    shown = torch.cat([chunk.frames for chunk in run.sink.chunks]).float()
    wanted = torch.stack([torch.from_numpy(painted(index)) for index in range(21)]).float()
    error = (shown - wanted).square().mean().sqrt()
    shifted = (shown[4:] - wanted[:-4]).square().mean().sqrt()
    assert error < 20
    assert error < 0.5 * shifted


def test_a_hard_cut_loses_no_frame_of_the_input_and_takes_none_twice(made):
    _, run = made(
        "source.mode=noise", "source.strength=0.02", chunks=4, script=(*SCRIPT[:1], TimelineEntry(chunk=2, cut="hard"))
    )
    numbers = list(itertools.accumulate([9, 12, 9, 12]))
    shown = torch.cat([chunk.frames for chunk in run.sink.chunks]).float()
    wanted = torch.stack([torch.from_numpy(painted(index % 40)) for index in range(numbers[-1])]).float()
    assert (shown - wanted).square().mean().sqrt() < 20


def test_a_recording_gives_the_same_latents_again(made):
    summary, run = made("source.mode=noise")
    entries = run.session.recording()
    assert [entry.strength for entry in entries if entry.strength is not None] == [0.8, 0.5]
    assert made("source.mode=noise", "source.strength=0.1", script=tuple(entries))[0].latents_sha256 == (
        summary.latents_sha256
    )


def test_the_strength_is_changed_while_the_stream_runs(files):
    with open_stream("source=file", f"source.path={files['file']}", "run.chunks=100000") as run:
        run.session.start()
        run.session.set_strength(0.25)
        with pytest.raises(RequestError, match="strength is 2; 0 to 1 are possible"):
            run.session.set_strength(2)
        while run.session.state()["source"]["strength"] != 0.25:
            assert not run.session.done.is_set()
        assert run.session.state()["source"]["state"] == "playing"


def test_a_lost_mesh_leaves_the_input_where_it_is(files):
    choices = ("layout=cpu", "layout.mesh_ranks=1", "run.restarts=3", "supervision.pauses_s=[0]", "run.chunks=100000")
    with open_stream(*choices, "source=file", f"source.path={files['file']}", "source.mode=history") as run:
        run.session.start()
        wait_for(run, lambda: len(run.sink.chunks) > 2)
        kill_leader(run)
        wait_for(run, lambda: run.sink.chunks[-1].cache_epoch == 1)
        first = next(chunk for chunk in run.kept.planned_chunks if chunk.record.cache_epoch == 1)
        assert first.plan.init_cache
        assert not torch.equal(first.envelope.tensors[INPUT_LATENTS], torch.zeros(first.plan.latents_shape))
    assert run.session.failure is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("parallel", ["tensor", "sequence"])
def test_a_mesh_that_is_split_over_ranks_makes_one_video(made, mode, parallel):
    choices = f"source.mode={mode}", "layout=cpu", "layout.mesh_ranks=2", f"parallel={parallel}"
    assert len({made(*choices, f"overlap={overlap}", chunks=4)[0].latents_sha256 for overlap in OVERLAPS}) == 1


def test_without_an_input_there_is_no_strength():
    with open_stream("run.chunks=1") as run:
        with pytest.raises(RequestError, match="source=none"):
            run.session.set_strength(0.5)
        with pytest.raises(RequestError, match=r"^chunk 4: strength is 0\.5; source=none has no input$"):
            run.session.set_timeline([TimelineEntry(chunk=4, strength=0.5)], relative=True)
        assert run.session.state()["source"] is None


@pytest.mark.parametrize(
    ("choices", "line"),
    [
        (("source=file",), "source.path=null: source=file needs a file"),
        (("source.path=a.mp4",), "source.path=a.mp4: source=none has no input"),
        (("source.mode=noise",), "source.mode=noise: source=none has no input"),
        (("source=file", "source.path=a.mp4", "source.mode=none"), "source.mode=none: source=file needs a mode"),
        (("source=file", "source.path=a.mp4", "source.strength=1.5"), "source.strength=1.5: expected `float` <= 1.0"),
        (("source=file", "source.path=a", "source.mode=history", "context=none"), "context=none: source.mode=history"),
        (
            ("source=file", "source.path=a", "source.mode=history", "context=recompute_anchor"),
            "context=recompute_anchor: source.mode=history",
        ),
        (
            ("source=image", "source.path=a", "model.window.frames=3"),
            "source.mode=image_start: needs a window of 2 chunks",
        ),
    ],
)
def test_an_impossible_input_is_one_line(choices, line):
    with pytest.raises(ConfigError) as refused:
        make_settings(*choices)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)
