"""A server and two clients on links of their own, each in a network namespace."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

NOBODY = "02:00:00:00:00:99"
"""The hardware address of no machine: what is sent there is lost without a word."""
UPLINK = "uplink"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass(frozen=True, slots=True)
class Link:
    """Between the server and one client. server, client: IPv4 and IPv6 addresses."""

    namespace: str
    device: str
    server: tuple[str, str]
    client: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Net:
    server: str
    """Its namespace."""
    links: Sequence[Link]

    def cut(self, link: Link) -> None:
        """From now on everything is lost on this link, in both directions."""
        for address in link.client:
            ip("-n", self.server, "neigh", "replace", address, "lladdr", NOBODY, "dev", link.device, "nud", "permanent")
        for address in link.server:
            ip("-n", link.namespace, "neigh", "replace", address, "lladdr", NOBODY, "dev", UPLINK, "nud", "permanent")


def inside(namespace: str, *words: str) -> list[str]:
    """The words of a command that runs there."""
    return ["ip", "netns", "exec", namespace, *words]


@contextlib.contextmanager
def net() -> Iterator[Net]:
    """Skips the test where no namespace can be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    server, clients = f"pp1s{os.getpid()}", [f"pp1c{n}x{os.getpid()}" for n in (1, 2)]
    with contextlib.ExitStack() as made:
        for namespace in (server, *clients):
            try:
                ip("netns", "add", namespace)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
            made.callback(ip, "netns", "del", namespace)
            ip("-n", namespace, "link", "set", "dev", "lo", "up")
        yield Net(server, [_connect(server, client, number) for number, client in enumerate(clients, 1)])


def _connect(server: str, client: str, number: int) -> Link:
    device = f"down{number}"
    ip("-n", server, "link", "add", device, "type", "veth", "peer", "name", UPLINK, "netns", client)
    link = Link(client, device, (f"10.77.{number}.1", f"fd77:{number}::1"), (f"10.77.{number}.2", f"fd77:{number}::2"))
    for namespace, name, addresses in ((server, device, link.server), (client, UPLINK, link.client)):
        ip("-n", namespace, "addr", "add", f"{addresses[0]}/24", "dev", name)
        ip("-n", namespace, "addr", "add", f"{addresses[1]}/64", "dev", name, "nodad")
        ip("-n", namespace, "link", "set", "dev", name, "up")
    return link
