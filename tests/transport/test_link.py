"""Messages between rank 0 and the mesh: over a real pair of processes, inside one process, and broken ones."""

from collections import deque

import pytest
import torch

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV3, wire
from pp1_orchestrator.contract.result import LATENTS_OUT
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.mesh.text_conditioning import RecipeResolver
from pp1_orchestrator.mesh.worker import MeshWorker
from pp1_orchestrator.models.wan.sampler import initial_noise
from pp1_orchestrator.models.wan.schedule import FlowSchedule
from pp1_orchestrator.telemetry.spans import SpanRecorder
from pp1_orchestrator.transport.link import InlineChannel, MeshLink, receive_message
from tests.models.wan.small_model import CONFIG, HEIGHT, WIDTH, make_generator, random_model, random_text
from tests.transport.factories import first_chunk
from tests.transport.link_scenarios import CPU, EMBEDS, LATENTS, WAYS, act
from tests.transport.world import run_world

STEPS = (1000.0, 500.0)
by_way = pytest.mark.parametrize("way", WAYS)
MAGIC, KIND, VERSION, CALL_ID, META_BYTES, TENSOR_COUNT = range(wire.HEADER_FIELDS)


class Pipe:
    """Tensors on their way, and how many of them were taken."""

    def __init__(self) -> None:
        self.waiting: deque[torch.Tensor] = deque()
        self.taken = 0

    def receive(self, tensor: torch.Tensor) -> None:
        self.taken += 1
        tensor.copy_(self.waiting.popleft())


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return run_world(act, 2, tmp_path_factory.mktemp("link"))


@pytest.fixture
def message():
    return wire.pack_envelope(first_chunk(LATENTS.shape, EMBEDS))


@by_way
def test_a_pair_of_processes_exchanges_whole_messages(reports, message, way):
    rank0, leader = (report[way]["exchange"] for report in reports)
    assert rank0["same"]
    assert leader["same"]
    assert leader["nbytes"] == message.nbytes
    assert rank0["nbytes"] > LATENTS.nbytes
    assert rank0["in_order"]
    assert leader["in_order"]


@by_way
def test_a_stack_shows_whether_a_rank_waits_for_another(reports, way):
    assert all(report[way]["waiting"] for report in reports)


@by_way
def test_what_is_larger_than_the_way_arrives_whole_in_both_directions(reports, way):
    assert [report[way]["bulk"] for report in reports] == [{"wrong": []}] * 2


@by_way
def test_two_that_send_more_than_fits_take_what_the_other_sends(reports, way):
    assert [report[way]["crossing"] for report in reports] == [True, True]


@by_way
def test_a_broken_header_is_refused_without_waiting_for_the_rest(reports, way):
    assert reports[0][way]["broken"].startswith("not a message of this contract")


@by_way
def test_a_peer_that_falls_silent_is_one_line(reports, way):
    assert reports[0][way]["silent"] == "rank 1 was silent for too long"


@by_way
def test_a_peer_that_takes_nothing_is_one_line(reports, way):
    assert reports[0][way]["not taken"] == "rank 1 was silent for too long"


@by_way
def test_a_peer_that_ends_is_one_line(reports, way):
    assert reports[0]["gone"][way] == "rank 1 has ended"


def test_a_closed_pipe_leaves_no_file_open(reports):
    assert [report["memory"]["files"] for report in reports] == [0, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (MAGIC, 0),
        (KIND, 0),
        (KIND, 3),
        (VERSION, 99),
        (META_BYTES, 0),
        (META_BYTES, -1),
        (META_BYTES, wire.MAX_META_BYTES + 1),
        (TENSOR_COUNT, -1),
        (TENSOR_COUNT, wire.MAX_TENSORS + 1),
    ],
)
def test_a_corrupt_header_is_refused_before_anything_else_is_read(message, field, value):
    pipe = Pipe()
    message.header[field] = value
    pipe.waiting.extend(message.parts)
    with pytest.raises(ContractError):
        receive_message(pipe.receive, CPU)
    assert pipe.taken == 1


def test_metadata_that_contradicts_the_header_is_refused_before_a_tensor_is_read(message):
    pipe = Pipe()
    message.header[TENSOR_COUNT] -= 1
    pipe.waiting.extend(message.parts)
    with pytest.raises(ContractError, match="1 tensors described, 0 announced"):
        receive_message(pipe.receive, CPU)
    assert pipe.taken == 2


def test_a_link_inside_one_process_speaks_the_same_contract():
    noise, text = initial_noise(3, 0, (1, 3, CONFIG.in_dim, HEIGHT, WIDTH)), random_text(1)
    model = random_model()
    alone = make_generator(model, FlowSchedule())
    alone.set_text(text)
    wanted = alone.denoise(noise, STEPS, 0, 3)
    generator = make_generator(model, FlowSchedule())
    leader_text, worker = RecipeResolver(None, SpanRecorder(1)), MeshWorker(generator, SpanRecorder(1), CPU)
    link = MeshLink(
        InlineChannel(lambda envelope: worker.infer(leader_text.resolve(envelope), 0.0), worker.run_context_pass, CPU)
    )
    link.send(wire.pack_envelope(Envelope(PPEnvelopeV3(action=Action.NOOP, call_id=0, cache_epoch=0))))
    link.send(wire.pack_envelope(first_chunk(noise.shape, text, STEPS)))
    received = link.receive()
    assert torch.equal(received.message.tensors[LATENTS_OUT], wanted)
    assert received.nbytes == wire.pack_result(received.message).nbytes
    assert generator.calls == len(STEPS)
    link.run_deferred()  # the context pass that the envelope asked for
    assert generator.calls == len(STEPS) + 1
