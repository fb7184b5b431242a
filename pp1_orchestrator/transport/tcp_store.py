"""The key-value store through which the ranks of one host start: a TCP store that listens on loopback only."""

import socket
from datetime import timedelta

from torch._C._distributed_c10d import PrefixStore, Store, TCPStore
from torch.distributed.rendezvous import rendezvous  # pyright: ignore[reportUnknownVariableType]

__all__ = ["Store", "host_store", "join_store", "torchrun_store"]

LOOPBACK = "127.0.0.1"


def host_store(world_size: int, timeout_s: float) -> TCPStore:
    """Rank 0's store. The socket is bound here, since torch would listen on every interface."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((LOOPBACK, 0))
    listener.listen(64)
    port = listener.getsockname()[1]
    return TCPStore(
        LOOPBACK,
        port,
        world_size,
        is_master=True,
        timeout=timedelta(seconds=timeout_s),
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
        use_libuv=True,
    )


def join_store(port: int, world_size: int, timeout_s: float) -> TCPStore:
    """Another rank's connection to rank 0's store."""
    return TCPStore(LOOPBACK, port, world_size, is_master=False, timeout=timedelta(seconds=timeout_s))


def torchrun_store(prefix: str, timeout_s: float) -> Store:
    """The store of the torchrun that started this process, from the environment. Keys begin with `prefix`."""
    limit = timedelta(seconds=timeout_s)
    store, _, _ = next(rendezvous("env://", timeout=limit))
    store.set_timeout(limit)
    return PrefixStore(prefix, store)
