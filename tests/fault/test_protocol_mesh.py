"""A real mesh that is handed what no rank 0 of this program would send, or is joined by a rank that does not fit."""

import pytest

from pp1_orchestrator.contract import Action
from pp1_orchestrator.contract.envelope import CONDITIONING
from pp1_orchestrator.errors import MeshError
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.runtime import mesh_process
from pp1_orchestrator.runtime.facts import own_facts
from pp1_orchestrator.runtime.meeting import tell, wait_for_all
from pp1_orchestrator.transport.groups import Topology
from pp1_orchestrator.transport.rendezvous import host_store
from tests.config.test_conf import settings
from tests.forked import helped

from .bare_mesh import CONFIG, END_S, SETTINGS, exit_codes, first_envelope, mesh, message
from .faulty import MESH


def test_an_envelope_that_the_leader_refuses_reaches_no_follower():
    """Recompute without the frames to do it from: the leader has no other source for them, and says so at once."""
    with mesh() as (made, link):
        link.send(first_envelope(do_kv_recompute=True))
        with pytest.raises(MeshError, match="rank 1 has ended"):
            link.receive()
        assert exit_codes(made) == {mesh_process.EXIT_FAILED}
        assert "context_frames must be present exactly when do_kv_recompute is set" in made.last_words(1)
        assert made.last_words(2) == "a rank of the mesh has ended"


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
    tell(store, "facts", 0, own_facts(SETTINGS))
    processes = []
    for rank, choice in zip(ranks, wrong.values(), strict=True):
        other = settings("run=bench", *MESH, "layout.mesh_ranks=2", choice)
        arguments = (rank, other, CONFIG, store.port, None)
        processes.append(helped().Process(target=mesh_process.main, args=arguments, daemon=True))
        processes[-1].start()
    for rank, (key, process) in enumerate(zip(wrong, processes, strict=True), start=1):
        process.join(END_S)
        assert process.exitcode == mesh_process.EXIT_FAILED
        with pytest.raises(MeshError, match=f"^rank {rank}: ranks disagree on {key}: .+ on rank {rank}, .+ on rank 0$"):
            wait_for_all(store, "agreed", range(rank, rank + 1), END_S, dict)
