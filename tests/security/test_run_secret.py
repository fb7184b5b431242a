"""What is written into the ranks' store by another program is refused."""

import multiprocessing

import pytest

from pp1_orchestrator.contract import handshake
from pp1_orchestrator.errors import ContractError, MeshError
from pp1_orchestrator.transport.rendezvous import fetch, publish, wait_for_all
from pp1_orchestrator.transport.tcp_store import host_store, join_store
from tests.forkserver import forkserver_context

LINE = "^fingerprint/1 was not written by a rank of this run$"


@pytest.fixture
def store():
    return host_store(1, 5)


def as_another_program(act, *arguments) -> None:
    """Act with a secret of its own, as any process that finds the port would."""
    process = multiprocessing.current_process()
    own = process.authkey
    process.authkey = b"another"
    try:
        act(*arguments)
    finally:
        process.authkey = own


def rank_joins(port: int) -> None:
    """A spawned rank: it reads what rank 0 told, and answers."""
    store = join_store(port, 1, 30)
    publish(store, "echo", 1, fetch(store, "fingerprint", 0))


def test_a_spawned_rank_has_the_secret(store):
    publish(store, "fingerprint", 0, {"torch": "2"})
    rank = forkserver_context().Process(target=rank_joins, args=(store.port,))
    rank.start()
    rank.join(240)
    assert rank.exitcode == 0
    assert fetch(store, "echo", 1) == {"torch": "2"}


def test_a_stranger_is_not_believed(store):
    as_another_program(publish, store, "fingerprint", 1, {"torch": "2"})
    with pytest.raises(MeshError, match=LINE):
        fetch(store, "fingerprint", 1)


def test_the_reason_that_a_stranger_gives_is_not_passed_on(store):
    as_another_program(publish, store, "failed", 1, {"config": True, "reason": "because I say so"})
    with pytest.raises(MeshError, match=r"^failed/1 was not written by a rank of this run$"):
        wait_for_all(store, "loaded", range(1, 2), 5, dict)


@pytest.mark.parametrize("value", [b"", b"{}", b"0" * 64, b'{"torch": "2"}' * 20])
def test_a_value_without_a_signature_is_refused(store, value):
    store.set("fingerprint/1", value.decode())
    with pytest.raises(MeshError, match=LINE):
        fetch(store, "fingerprint", 1)


def test_a_seal_holds_for_one_place_only():
    signed = handshake.sign(b"secret", "fingerprint/1", b"{}")
    assert handshake.verify(b"secret", "fingerprint/1", signed) == b"{}"
    for secret, place, value in ((b"other", "fingerprint/1", signed), (b"secret", "fingerprint/2", signed)):
        with pytest.raises(ContractError, match="was not written by a rank of this run"):
            handshake.verify(secret, place, value)
