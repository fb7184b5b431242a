"""The program on a network, over IPv4 and IPv6: what other machines reach, and one whose link is dead."""

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.security.namespaces import Link, Net, inside, net
from tests.system.program import end_by_force
from tests.system.warm import ROOT
from tests.timing import stopwatch

PORT, TOKEN, WAIT_S = 7860, "for the whole network", 240
SMALL = ("layout=cpu", "layout.mesh_ranks=1", "stream.height=64", "stream.width=64")
GAP_S, REAPED_S = 0.25, 13
"""Between two frames; until a viewer whose link is dead has been removed."""
V4, V6 = 0, 1
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Process:
    """A program in a namespace, and the lines that it writes."""

    def __init__(self, namespace: str, *words: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            inside(namespace, sys.executable, *words),
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, condition) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < end, self.lines
            time.sleep(0.1)

    def close(self) -> None:
        end_by_force(self.process)
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.strip())


class Client(Process):
    """See `tests.security.lan_client`."""

    def __init__(self, link: Link, family: int, others: list[int]) -> None:
        words = link.server[family], link.client[family], str(PORT), TOKEN, ",".join(map(str, others))
        super().__init__(link.namespace, "-m", "tests.security.lan_client", *words)

    @property
    def frames(self) -> list[float]:
        return [json.loads(line)["frame_s"] for line in self.lines if line.startswith('{"frame_s"')]

    def told(self) -> dict:
        self.wait_for(lambda: self.lines)
        return json.loads(self.lines[0])


class Server(Process):
    """The program, on all addresses."""

    def __init__(self, found: Net, folder) -> None:
        self.net = found
        bound = ("serving.host='::'", f"serving.port={PORT}", f"serving.token='{TOKEN}'", f"hydra.run.dir={folder}")
        super().__init__(found.server, "-m", "pp1_orchestrator", *SMALL, *bound)
        self.wait_for(lambda: any("the page is at" in line for line in self.lines))
        self.wait_for(lambda: any("the stream is ready" in line for line in self.lines))

    def ports(self) -> list[int]:
        """Those on which its processes listen: no others run there."""
        listening = subprocess.run(inside(self.net.server, "ss", "-Htln"), capture_output=True, text=True, check=True)
        return [int(line.split()[3].rsplit(":", 1)[1]) for line in listening.stdout.splitlines()]

    def viewers(self) -> int:
        url = f"http://127.0.0.1:{PORT}/api/state"
        words = inside(self.net.server, "curl", "-s", "-H", f"Authorization: Bearer {TOKEN}", url)
        return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)["viewers"]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with net() as found, contextlib.closing(Server(found, tmp_path_factory.mktemp("lan") / "out")) as started:
        yield started


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
def test_another_machine_reaches_the_server_and_nothing_else(server, family):
    ports = server.ports()
    assert len(ports) > 2
    with contextlib.closing(Client(server.net.links[0], family, ports)) as client:
        assert client.told() == {"statuses": [401, 200], "open": [PORT]}
        client.wait_for(lambda: len(client.frames) > 20)
    server.wait_for(lambda: server.viewers() == 0)


def test_a_viewer_whose_link_is_dead_costs_the_others_nothing_and_is_removed(server):
    dead_link, good_link = server.net.links
    with (
        contextlib.closing(Client(dead_link, V4, [PORT])) as dead,
        contextlib.closing(Client(good_link, V6, [PORT])) as good,
    ):
        for client in (dead, good):
            client.wait_for(lambda client=client: len(client.frames) > 20)
        with stopwatch() as watch:
            start_s = time.monotonic()
            server.net.cut(dead_link)
            server.wait_for(lambda: server.viewers() == 1)
        assert watch.within(REAPED_S)
        at_s = [frame_s for frame_s in good.frames if frame_s >= start_s]
        assert max(later - earlier for earlier, later in itertools.pairwise(at_s)) <= GAP_S * watch.scale
        good.wait_for(lambda: len(good.frames) > len(at_s))
    assert not [line for line in server.lines if "Traceback" in line or " ERROR " in line]
