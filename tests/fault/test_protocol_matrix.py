"""Every way in which the protocol between rank 0 and the mesh can fail, and the test that shows what happens then.

`here` is this file; a test's name is shortened to the words that find it.

| failure | what happens | test |
|---|---|---|
| another plan, setting or compiler on one rank | refused before weights | here: do_not_fit |
| a stranger among the ranks | not believed | `security/test_run_secret` |
| steps and expected calls that differ | never sent | `contract/test_rules`: never_sent |
| passes other than planned | refused by rank 0 | `contract/test_rules`: wrong_count |
| a rank that skips collectives | hang, found by its deadline | `test_hangs`: skip |
| metadata or a type that can't travel | error before the header | `contract/test_wire`: first_byte, has_a_bound |
| a broken header | refused, no more is read | here: corrupt_answer; `transport/test_link` |
| claims that are too large | refused, nothing allocated | `security/test_wire_claims` |
| recompute without context frames | never sent; refused by the leader | `contract/test_rules`; here: leader_refuses |
| context frames of a chunk before | none are kept | `stage0/test_planner`: recomputing_every_nth |
| conditioning that never came | error result, mesh ends | here: never_came |
| a collective outside of its group | refused before the backend | `mesh/test_tensor_parallel`; `test_house`: one_door |
| the leader fails before it passes on | no follower is handed anything | here: no_follower |
| a rank raises, exits, is killed in a chunk | seen at once, whole mesh anew | here; `test_restart`; `test_strategies` |
| a rank stops or sleeps | found by its deadline, with stacks | `test_hangs` |
| a result that is late, after a hard cut | dropped by its epoch | here: late_answer |
| a result that never comes | a hang | here: lost_answer |
| a message that is sent twice, or late | dropped and counted | `test_repeated_messages` |
| a result with other ids than were asked for | refused by rank 0 | `contract/test_rules`: answer_to_its_envelope |
| latents that are not finite | not shown, new epoch | here: poisoned_cache; `test_not_finite` |
| another start frame than planned | refused by rank 0 | `contract/test_rules`: wrong_frame |
| calls, chunks, epochs that do not rise | never made | `stage0/test_planner`; `test_strategies` |
| unknown fields; unknown versions | ignored; refused | `contract/test_wire`: unknown |
| health without chunks | 503 | `test_restart`; `server/test_api` |
| idle for longer than any wait may last | nobody ends | here: idle_mesh |
| rank 0 is killed | the mesh ends | `test_orphans` |
| SIGTERM, Ctrl-C | exit 0 in time | `system/test_stop` |

Without a meaning here: what one rank reads differently from the others (every follower gets the leader's bytes, every
rank loads the same folder), dynamo across collectives (a mesh with several ranks is not compiled), control planes that
compete (one thread uses the link).
"""

import time

import pytest
import torch

from pp1_orchestrator.contract import Action
from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.mesh import process as mesh_process
from pp1_orchestrator.mesh.fingerprint import fingerprint_rank
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.transport.process_groups import Topology
from pp1_orchestrator.transport.rendezvous import publish, wait_for_all
from pp1_orchestrator.transport.tcp_store import host_store
from pp1_orchestrator.types import Control
from tests.config.test_conf import settings
from tests.fault.bare_mesh import CONFIG, END_S, SETTINGS, exit_codes, first_envelope, mesh, message
from tests.fault.faulty_stream import MESH, faulty_stream
from tests.forkserver import forkserver_context
from tests.timing import scaled

BAD = 5
QUICK = ("deadlines.answer=1.5", "deadlines.message=6")


def assert_nothing_is_shown_twice_or_out_of_order(chunks):
    numbers = [chunk.chunk_index for chunk in chunks]
    assert numbers == sorted(set(numbers))
    epochs = [chunk.cache_epoch for chunk in chunks]
    assert epochs == sorted(epochs)


@pytest.mark.parametrize(
    ("kind", "rank", "reason", "text"),
    [
        ("raise", 1, "error", "the mesh failed at chunk 5: RuntimeError: a scripted fault"),
        ("raise", 2, "error", "rank 2 ended with exit code 1: a scripted fault"),
        ("exit", 2, "death", "rank 2 ended with exit code 3"),
        ("kill", 2, "death", "rank 2 ended with exit code -9"),
    ],
)
def test_a_rank_that_fails_within_a_chunk(kind, rank, reason, text):
    with faulty_stream(kind, rank=rank, ranks=rank, chunk=BAD) as stream:
        stream.wait_for_epoch(1)
        told = stream.of("restarting")
        # The leader's answer and the end of its process come nearly at the same time.
        assert told[0]["text"] in (text, "rank 1 ended with exit code 1: a scripted fault")
        assert [event["reason"] for event in told] == [reason]
        assert stream.restarts(reason) == 1
        assert BAD not in [chunk.chunk_index for chunk in stream.chunks]
        assert_nothing_is_shown_twice_or_out_of_order(stream.chunks)


@pytest.mark.parametrize(
    ("kind", "choices", "reason", "words"),
    [
        pytest.param("corrupt", (), "error", "not a message of this contract", id="a_corrupt_answer"),
        pytest.param("drop", QUICK, "hang", "the mesh hangs: no answer for ", id="a_lost_answer"),
    ],
)
def test_an_answer_that_is_none(kind, choices, reason, words):
    with faulty_stream(kind, *choices, chunk=BAD) as stream:
        stream.wait_for_epoch(1)
        told = stream.of("restarting")
        assert [event["reason"] for event in told] == [reason]
        assert words in told[0]["text"]
        shown = [chunk.chunk_index for chunk in stream.chunks if chunk.cache_epoch == 0]
        assert shown == list(range(BAD))
        assert_nothing_is_shown_twice_or_out_of_order(stream.chunks)


def test_a_late_answer_is_dropped_after_a_hard_cut():
    with faulty_stream("delay", "overlap.d_in=2", "debug.fault.seconds=4", chunk=BAD) as stream:
        stream.wait_for(lambda: len(stream.run.kept.planned_chunks) > BAD)
        stream.session.control(Control(action="hard_cut"))
        stream.wait_for_epoch(1)
        assert BAD not in [chunk.chunk_index for chunk in stream.chunks]
        assert stream.sample("pp1_frames_dropped_total", reason="old_epoch") in (12, 24)
        assert stream.of("restarting") == []
        assert_nothing_is_shown_twice_or_out_of_order(stream.chunks)


def test_a_poisoned_cache_of_one_follower_costs_an_epoch_and_no_mesh():
    """Its latents are the leader's, so the chunk itself is good; its context pass then writes what is not finite."""
    with faulty_stream("not_finite", rank=2, ranks=2, chunk=BAD) as stream:
        stream.wait_for_epoch(1)
        assert all(torch.isfinite(latents).all() for latents in stream.run.kept.latents)
        assert [chunk.chunk_index for chunk in stream.chunks if chunk.cache_epoch == 0] == list(range(BAD + 1))
        assert next(c.chunk_index for c in stream.chunks if c.cache_epoch == 1) <= BAD + 1 + 2
        assert [event["reason"] for event in stream.of("epoch")] == ["nan"]
        assert stream.of("restarting") == []


def test_an_idle_mesh_outlives_every_wait():
    longest_s = min(20.0, scaled(3))
    choices = (f"deadlines.message={longest_s}", f"deadlines.answer={longest_s}", "deadlines.heartbeat=0.3")
    with faulty_stream("none", *choices, ranks=2) as stream:
        stream.wait_for(lambda: len(stream.chunks) > 1)
        stream.session.control(Control(action="pause"))
        stream.wait_for(lambda: len(stream.run.kept.planned_chunks) == len(stream.chunks))
        time.sleep(1.5 * longest_s)  # longer than a group waits
        before = len(stream.chunks)
        stream.session.control(Control(action="resume"))
        stream.wait_for(lambda: len(stream.chunks) > before + 1)
        assert stream.of("restarting") == []
        assert stream.chunks[-1].cache_epoch == 0


def test_an_envelope_that_the_leader_refuses_reaches_no_follower():
    """Recompute without the frames to do it from: the leader has no other source for them, and says so at once."""
    with mesh() as (made, link):
        link.send(first_envelope(do_kv_recompute=True))
        with pytest.raises(MeshError, match="rank 1 has ended"):
            link.receive()
        assert exit_codes(made) == {mesh_process.EXIT_FAILED}
        assert "context_frames must be present exactly when do_kv_recompute is set" in made.exit_reason(1)
        assert made.exit_reason(2) == "a rank of the mesh has ended"


def test_conditioning_that_never_came_is_an_error_result_and_the_end_of_the_mesh():
    with mesh() as (made, link):
        link.send(first_envelope(without=CONDITIONING, conditioning_epoch=5, reset_crossattn_cache=False))
        answer = link.receive().message.meta
        assert not answer.ok
        assert answer.error_message == "ContractError: chunk 0 needs conditioning 5, the mesh has -1"
        assert exit_codes(made) == {mesh_process.EXIT_FAILED}


def noting_order(rank, settings, config, port, folder):
    """A rank's life, which writes down what it lets go of, in order."""

    def noted(owner, name):
        close = owner.close

        def note_and_close(self):
            with (folder / f"order{rank}").open("a") as file:
                file.write(f"{name}\n")
            close(self)

        owner.close = note_and_close

    noted(CausalGenerator, "generator")
    noted(Topology, "groups")
    mesh_process.main(rank, settings, config, port, folder)


def test_a_rank_lets_go_of_its_generator_before_the_groups_that_its_sums_went_through(tmp_path):
    """With a graph left that has a sum in it, NCCL would wait for ever to give its group up."""
    with mesh(main=noting_order, folder=tmp_path) as (made, link):
        link.send(message(Action.SHUTDOWN, 1))
        assert exit_codes(made) == {0}
    assert [(tmp_path / f"order{rank}").read_text().split() for rank in (1, 2)] == [["generator", "groups"]] * 2


def test_ranks_that_do_not_fit_are_refused_before_anything_is_loaded():
    """Each rank differs in one setting: its plan, its compiler, what is shared, a measure for debugging."""
    wrong = {"seed": "seed=43", "layout.compile": "layout.compile=true", "layout.shard.qk": "layout.shard.qk=true",
             "debug.mesh_s": "debug.mesh_s=1"}  # fmt: skip
    ranks = range(1, len(wrong) + 1)
    store = host_store(len(wrong) + 1, END_S)
    publish(store, "fingerprint", 0, fingerprint_rank(SETTINGS))
    processes = []
    for rank, choice in zip(ranks, wrong.values(), strict=True):
        other = settings("run=bench", *MESH, "layout.mesh_ranks=2", choice)
        arguments = (rank, other, CONFIG, store.port, None)
        processes.append(forkserver_context().Process(target=mesh_process.main, args=arguments, daemon=True))
        processes[-1].start()
    for rank, (key, process) in enumerate(zip(wrong, processes, strict=True), start=1):
        process.join(END_S)
        assert process.exitcode == mesh_process.EXIT_FAILED
        with pytest.raises(MeshError, match=f"^rank {rank}: ranks disagree on {key}: .+ on rank {rank}, .+ on rank 0$"):
            wait_for_all(store, "agreed", range(rank, rank + 1), END_S, dict)
