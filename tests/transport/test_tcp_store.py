"""The store through which ranks start."""

import psutil

from pp1_orchestrator.transport.tcp_store import host_store, join_store

WAIT_S = 120.0


def listening() -> dict[int, str]:
    """Addresses by port, of every TCP socket on which this process listens."""
    connections = psutil.Process().net_connections(kind="tcp")
    return {c.laddr.port: c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}


def test_the_store_listens_on_loopback_only():
    before = listening()
    store = host_store(2, WAIT_S)
    new = {port: address for port, address in listening().items() if port not in before}
    assert new == {store.port: "127.0.0.1"}


def test_what_one_rank_tells_another_one_hears():
    store = host_store(2, WAIT_S)
    other = join_store(store.port, 2, WAIT_S)
    other.set("loaded/1", "yes")
    assert store.get("loaded/1") == b"yes"
    assert not store.check(["loaded/2"])


def test_two_stores_of_one_host_are_two():
    one, two = host_store(2, WAIT_S), host_store(2, WAIT_S)
    one.set("key", "one")
    assert one.port != two.port
    assert not two.check(["key"])
