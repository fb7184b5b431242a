"""Whatever is asked of the planner, in whatever order: the envelopes keep the contract, and a mesh can run them.

The worker is the real one and drives a real generator of tiny random weights.
"""

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pp1_orchestrator.app.strategy_registry import CONTEXTS
from pp1_orchestrator.contract import Action, Envelope, wire
from pp1_orchestrator.contract.envelope import CONDITIONING, CONTEXT_FRAMES
from pp1_orchestrator.contract.result import accept
from pp1_orchestrator.contract.text_recipe import TextTerm
from pp1_orchestrator.mesh.text_conditioning import RecipeResolver
from pp1_orchestrator.mesh.worker import MeshWorker
from pp1_orchestrator.models.text.umt5 import CachedEncoder
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.stage0.conditioning import ConditioningTarget
from pp1_orchestrator.stage0.context_policies import LatentHistory
from pp1_orchestrator.stage0.planner import ChunkSpec, Planner
from pp1_orchestrator.stage0.text_routing import Rank0Encoder
from pp1_orchestrator.telemetry.spans import SpanRecorder

SMALL = WanConfig(
    dim=24, ffn_dim=32, num_heads=2, num_layers=1, text_dim=8, text_len=4, freq_dim=16, local_attn_size=12
)
STEPS = (1000.0, 500.0)


class NumberEncoder:
    """An encoder that makes an embedding from a prompt's characters."""

    def encode(self, prompts) -> torch.Tensor:
        (text,) = prompts
        return torch.full((1, SMALL.text_len, SMALL.text_dim), float(sum(map(ord, text)) % 7))


def make_worker() -> MeshWorker:
    torch.manual_seed(0)
    model = CausalWanModel(SMALL).eval().requires_grad_(False)
    generator = CausalGenerator(model, KVCache(SMALL, (2, 2)), FlowSchedule())
    return MeshWorker(generator, SpanRecorder(1), torch.device("cpu"))


def make_planner(context: str, every: int = 1, bias: float = 1.0, sink: int = 0) -> Planner:
    history = LatentHistory(4)
    routing = Rank0Encoder(CachedEncoder(NumberEncoder().encode))
    past = {"recompute_every": every, "bias": bias, "sink": sink, "recache_mask": "bidirectional"}
    spec = ChunkSpec(frames=3, channels=16, height=16, width=16, steps=STEPS, **past)
    planner = Planner(spec, 42, CONTEXTS[context](), routing, history)
    planner.set_target(ConditioningTarget((TextTerm("a"),)))
    return planner


def run_one(planner: Planner, worker: MeshWorker, text: RecipeResolver):
    """One chunk through wire, worker and acceptance; the envelope that arrived."""
    sent = planner.plan()
    parcel = wire.pack_envelope(sent)
    meta, specs = wire.read_meta(wire.read_header(parcel.header), parcel.meta)
    envelope = wire.build(meta, specs, list(parcel.tensors))
    assert isinstance(envelope, Envelope)
    result = worker.infer(text.resolve(envelope), idle_ms=0.0)
    latents = accept(result, sent, planner.cache_epoch)
    assert latents is not None
    planner.history.add(latents + torch.randn(latents.shape))  # an anchor frame must come from somewhere
    planner.history.set_anchor(latents[0, :1])
    worker.run_context_pass()
    return envelope


actions = st.one_of(
    st.just("chunk"),
    st.just("cut"),
    st.just("noop"),
    st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.booleans()),
    st.integers(0, 2**31 - 1),
)


@settings(max_examples=25)
@given(st.lists(actions, max_size=12), st.sampled_from(sorted(CONTEXTS)), st.integers(1, 3))
def test_any_order_of_requests_gives_envelopes_that_a_mesh_can_run(requests, context, every):
    planner, worker, text = make_planner(context, every), make_worker(), RecipeResolver(None, SpanRecorder(1))
    calls, chunk, epoch, frame = 0, -1, 0, 0
    for request in [*requests, "chunk"]:
        if request == "cut":
            planner.hard_cut()
        elif request == "noop":
            message = planner.message(Action.NOOP)
            wire.pack_envelope(message)
            assert message.meta.call_id > calls
            calls = message.meta.call_id
        elif isinstance(request, tuple):
            planner.set_target(ConditioningTarget((TextTerm(request[0]),), steps=request[1], recache=request[2]))
        elif isinstance(request, int):
            planner.seed = request
        else:
            envelope = run_one(planner, worker, text)
            plan = envelope.plan
            assert envelope.meta.call_id > calls
            assert plan.chunk_index == chunk + 1
            assert plan.reset_kv_cache == plan.init_cache == (envelope.meta.cache_epoch > epoch or chunk < 0)
            assert plan.current_start_frame == (0 if plan.init_cache else frame + 3)
            assert plan.base_seed == planner.seed
            assert (CONDITIONING in envelope.tensors) == plan.reset_crossattn_cache
            calls, chunk = envelope.meta.call_id, plan.chunk_index
            epoch, frame = envelope.meta.cache_epoch, plan.current_start_frame


def test_the_embedding_travels_only_when_it_changed():
    planner, worker, text = make_planner("clean_pass"), make_worker(), RecipeResolver(None, SpanRecorder(1))
    assert [CONDITIONING in run_one(planner, worker, text).tensors for _ in range(4)] == [True, False, False, False]
    planner.set_target(ConditioningTarget((TextTerm("b"),), steps=3))
    assert [CONDITIONING in run_one(planner, worker, text).tensors for _ in range(4)] == [True, True, True, False]


def test_recomputing_every_nth_chunk_is_the_planners_decision():
    planner, worker, text = (
        make_planner("recompute_latent", every=2),
        make_worker(),
        RecipeResolver(None, SpanRecorder(1)),
    )
    plans = [run_one(planner, worker, text).plan for _ in range(6)]
    assert [plan.do_kv_recompute for plan in plans] == [False, False, True, False, True, False]
    assert [plan.expected_generator_calls for plan in plans] == [2, 2, 3, 2, 3, 2]


def test_recache_reads_all_that_is_remembered_under_the_new_prompt():
    planner, worker, text = make_planner("clean_pass"), make_worker(), RecipeResolver(None, SpanRecorder(1))
    for _ in range(5):
        assert run_one(planner, worker, text).plan.recache is msgspec.UNSET
    planner.set_target(ConditioningTarget((TextTerm("b"),), recache=True))
    plan = run_one(planner, worker, text).plan
    assert plan.do_kv_recompute
    assert plan.expected_generator_calls == len(STEPS) + 4 + 1  # four remembered chunks, and the pass that was owed
    assert plan.recache == "bidirectional"
    assert not run_one(planner, worker, text).plan.do_kv_recompute


@pytest.mark.parametrize(("chunks", "read"), [(2, 2), (4, 4), (5, 3)])
def test_recache_leaves_a_sink_that_it_does_not_begin_with(chunks, read):
    planner = make_planner("clean_pass", sink=3)
    planner.history.begin()
    for index in range(chunks):
        planner.plan()
        planner.history.add(torch.full((1, 3, 16, 2, 2), float(index)))
    planner.set_target(ConditioningTarget((TextTerm("b"),), recache=True))
    context = planner.plan().tensors[CONTEXT_FRAMES]
    assert context[0, ::3, 0, 0, 0].tolist() == list(range(chunks - read, chunks))


def test_a_recache_of_a_cache_that_is_rebuilt_anyway_has_no_mask():
    planner = make_planner("recompute_latent", every=2)
    planner.plan()
    planner.history.add(torch.zeros(1, 3, 16, 2, 2))
    planner.set_target(ConditioningTarget((TextTerm("b"),), recache=True))
    plan = planner.plan().plan
    assert plan.do_kv_recompute
    assert plan.recache is msgspec.UNSET
