"""Every routing and every overlap gives the same video; every context runs; what each costs is told."""

from functools import cache

import pytest
import torch

from pp1_orchestrator.app.strategy_registry import CONTEXTS, OVERLAPS, ROUTINGS, check
from pp1_orchestrator.loading.stage0_models import load_vae_parts
from pp1_orchestrator.models.vae.base import DecodeState
from pp1_orchestrator.models.vae.pixel_format import to_rgb24
from pp1_orchestrator.types import TimelineEntry, Transition, WeightedPrompt
from tests.system.in_process import open_stream, run_script
from tests.timing import scaled

RED = "a red circle moving left on a blue background"
GREEN = "a green square moving right on a white background"
YELLOW = "a yellow triangle moving up on a black background"
SCRIPT = [
    TimelineEntry(chunk=0, prompt=RED),
    TimelineEntry(chunk=2, prompt=GREEN),
    TimelineEntry(chunk=3, prompts=(WeightedPrompt(RED, 1), WeightedPrompt(GREEN, 2)), transition=Transition(3)),
    TimelineEntry(chunk=5, prompt=YELLOW, transition=Transition(2, "slerp")),  # while the blend is still on its way
    TimelineEntry(chunk=7, prompt=RED, cut="hard"),
    TimelineEntry(chunk=8, prompt=GREEN, cut="recache"),
]
CHUNKS = 9
PAIRS = [*(("rank0_encoder", overlap) for overlap in OVERLAPS), *((routing, "stage0_owned") for routing in ROUTINGS)]
"""That all twelve pairs make the same video is one of the frozen tests."""


@pytest.fixture(scope="module")
def made():
    """The summaries of these pairs, made once."""
    return {
        (routing, overlap): run_script(f"routing={routing}", f"overlap={overlap}", chunks=CHUNKS, script=SCRIPT)[0]
        for routing, overlap in set(PAIRS)
    }


@pytest.fixture(scope="module")
def in_context():
    """Runs a short stream once for each context and overlap that a test asks for."""
    return cache(
        lambda context, overlap: run_script(f"context={context}", f"overlap={overlap}", chunks=5, script=SCRIPT[:2])
    )


@pytest.mark.parametrize("pair", sorted(set(PAIRS)), ids="-".join)
def test_every_prompt_is_applied_in_its_chunk_within_two_chunks(made, pair):
    updates = made[pair].prompt_updates
    assert [update.applied_chunk for update in updates] == [0, 2, 3, 5, 7, 8]
    assert all(update.latency_chunks is not None and update.latency_chunks <= 2 for update in updates)


@pytest.mark.parametrize("pair", sorted(set(PAIRS)), ids="-".join)
def test_no_queue_grows_beyond_its_bound(made, pair):
    depths = made[pair].queue_depth_max
    assert depths["in_flight"] == 1
    assert depths.get("results", 1) <= 1


def test_only_an_encoder_in_the_mesh_holds_the_mesh_up(made):
    for (routing, _), summary in made.items():
        assert (summary.mesh_text_ms_max > 0) == (routing != "rank0_encoder")
        assert ("text_encoder" in summary.memory["1"]) == (routing != "rank0_encoder")
        assert ("text_encoder" in summary.memory["0"]) == (routing == "rank0_encoder")


def test_deeper_queues_change_nothing_in_the_video(made):
    deep = run_script("overlap=stage0_owned", "overlap.d_in=3", "overlap.d_out=2", chunks=CHUNKS, script=SCRIPT)[0]
    assert deep.latents_sha256 == made["rank0_encoder", "sync"].latents_sha256
    assert deep.pixels_sha256 == made["rank0_encoder", "sync"].pixels_sha256
    assert 1 < deep.queue_depth_max["in_flight"] <= 3
    assert deep.queue_depth_max["results"] <= 2


def test_a_hybrid_cache_that_hears_of_a_prompt_late_makes_the_same_video(made):
    deep = run_script("routing=hybrid_cache", "overlap.d_in=3", chunks=CHUNKS, script=SCRIPT)[0]
    assert deep.latents_sha256 == made["rank0_encoder", "sync"].latents_sha256


def test_a_hybrid_cache_encodes_a_prompt_once_in_the_mesh():
    script = [TimelineEntry(chunk=chunk, prompt=(RED, GREEN)[chunk % 2]) for chunk in range(6)]
    with open_stream("routing=hybrid_cache", "run.chunks=6", script=script) as run:
        run.session.start()
        assert run.session.done.wait(240)
        text_ms = [record.mesh_text_ms for record in run.instruments.chunk_log.records()]
    assert [ms > 0 for ms in text_ms] == [True, True, False, False, False, False]


@pytest.mark.parametrize("overlaps", [("sync", "stage0_owned"), pytest.param(tuple(OVERLAPS), marks=pytest.mark.slow)])
@pytest.mark.parametrize("context", CONTEXTS)
def test_every_context_makes_a_stream_and_every_overlap_the_same_one(in_context, context, overlaps):
    digests = set()
    for overlap in overlaps:
        summary, run = in_context(context, overlap)
        digests.add((summary.pixels_sha256, summary.latents_sha256))
        assert summary.frames == 9 + 4 * 12
        rebuilt = [frames is not None for frames in run.kept.contexts]
        assert rebuilt == [False] + 4 * [context.startswith("recompute")]
    assert len(digests) == 1


def test_the_contexts_differ_from_each_other(in_context):
    digests = {in_context(context, "sync")[0].latents_sha256 for context in CONTEXTS}
    assert len(digests) == len(CONTEXTS)


def test_the_anchor_is_what_a_decoder_that_decodes_whole_chunks_would_give():
    """The monolithic order by hand: decode a whole chunk, take picture 3, encode it; then the pixels of all chunks."""
    _, run = run_script("context=recompute_anchor", "overlap=stage0_owned", chunks=5, script=SCRIPT[:1])
    config, registry = check(run.settings, {"bench"})
    parts = run.settings, config, registry.decoder, torch.device("cpu")
    decoder, encoder, _ = load_vae_parts(*parts, with_encoder=True)
    assert encoder is not None
    state = DecodeState()
    for index, latents in enumerate(run.kept.latents):
        pixels = decoder.decode(latents[0], state)
        assert torch.equal(to_rgb24(pixels), run.sink.chunks[index].frames)
        if 0 < index < 4:
            context = run.kept.contexts[index + 1]
            assert torch.equal(context[:, 0], encoder.encode(pixels[3]))
            assert torch.equal(context[:, 1:], latents[:, 1:])


def test_attention_bias_changes_the_video_and_one_does_not():
    plain, half = (
        run_script("context=recompute_latent", f"context.attention_bias={bias}", chunks=4)[0].latents_sha256
        for bias in (1.0, 0.3)
    )
    assert plain != half
    again = run_script("context=recompute_latent", chunks=4)[0].latents_sha256
    assert again == plain


@pytest.mark.slow
def test_stages_that_sleep_hide_behind_each_other_except_in_sync():
    """Delays need no core, so the score tells the order of things and not how busy this machine is."""
    delay_s = min(0.6, scaled(0.15))  # much longer than what is computed
    slow, scores = [f"debug.mesh_s={delay_s}", f"debug.decode_s={delay_s}", "context=none"], {}
    for overlap in OVERLAPS:
        score = run_script(f"overlap={overlap}", *slow, chunks=5)[0].overlap_score
        assert score is not None
        scores[overlap] = score
    assert scores["sync"] < 0.2
    assert scores["loop_ahead"] < 0.2, "a mesh in this process has no thread of its own"
    assert scores["stage0_owned"] > 0.4, "0.6 and more where nothing else runs"
    assert scores["decode_thread"] > 0.4


def test_an_anchor_is_encoded_only_where_the_next_chunk_rebuilds():
    _, run = run_script("context=recompute_anchor", "context.recompute_every=2", chunks=6, script=SCRIPT[:1])
    assert [frames is not None for frames in run.kept.contexts] == [False, False, True, False, True, False]
    encoded = [record.anchor_ms > 0 for record in run.instruments.chunk_log.records()]
    assert encoded == [False, True, False, True, False, True]
