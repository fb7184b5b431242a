"""The clients in examples/ against the program as people run it, and what it says against the described types."""

import ipaddress
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx
import pytest
from aioice.ice import get_host_addresses

from pp1_orchestrator.media.loopback import is_loopback_host
from pp1_orchestrator.server.event_schemas import EVENT, Visible
from pp1_orchestrator.server.state_schemas import StreamState
from tests.fault.sdp_offers import seeds
from tests.system.program import Running, running
from tests.system.warm import ROOT

pytestmark = pytest.mark.slow

TOKEN = "a token for the examples"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = ROOT / "examples"
NAME = "127.0.1"
"""Of 127.0.0.1: no address in full, so it is looked up as any name is."""
OPTIONS = ("layout=inline", f"serving.token={TOKEN}", f"serving.host={NAME}")


class Heard:
    """The program's events, read on a thread of its own until the program ends."""

    def __init__(self, url: str) -> None:
        self.events: list[dict] = []
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(url,))
        self._thread.start()
        assert self._begun.wait(120)

    def all(self) -> list[dict]:
        """To be called when the program has been told to stop."""
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.events

    def _read(self, url: str) -> None:
        with httpx.stream("GET", f"{url}/api/events", headers=BEARER, timeout=120) as answer:
            for line in answer.iter_lines():
                self._begun.set()
                if line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Iterator[Running]:
    with running(*OPTIONS, out=tmp_path_factory.mktemp("served") / "out") as program:
        program.wait_until(lambda: is_ready(program))
        yield program


def is_ready(program: Running) -> bool:
    if program.get("/healthz")[0] != 200:
        return False
    return httpx.get(f"{url_of(program)}/readyz", headers=BEARER, timeout=120).status_code == 200


def url_of(program: Running) -> str:
    return f"http://127.0.0.1:{program.port}"


def run_example(*command: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TOKEN": token}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_the_client_waits_for_its_receipt(program):
    prompt = "a blue star on a white background"
    done = run_example(sys.executable, str(EXAMPLES / "client.py"), prompt, url_of(program))
    assert done.returncode == 0, done.stderr
    assert [word for word in ("accepted", "applied", "visible") if word not in done.stdout] == []
    assert "superseded" not in done.stdout


def test_a_viewer_is_answered_by_a_server_whose_host_is_a_name(program):
    assert not is_loopback_host(NAME)
    headers = BEARER | {"Content-Type": "application/sdp"}
    answer = httpx.post(f"{url_of(program)}/whep", content=seeds()[0], headers=headers, timeout=120)
    assert answer.status_code == 201, answer.text
    candidates = [line.split() for line in answer.text.splitlines() if line.startswith("a=candidate:")]
    offered = {fields[4] for fields in candidates}
    assert "127.0.0.1" in offered
    own = map(str, map(ipaddress.ip_address, get_host_addresses(use_ipv4=True, use_ipv6=True)))
    assert offered <= {"127.0.0.1", *own}, "it is bound to loopback"
    assert httpx.delete(url_of(program) + answer.headers["location"], headers=BEARER, timeout=120).is_success


def test_the_client_says_when_it_is_refused(program):
    done = run_example(sys.executable, str(EXAMPLES / "client.py"), "a blue star", url_of(program), token="wrong")
    assert (done.returncode, "401" in done.stderr) == (1, True)


def test_the_script_stops_at_a_refusal(program):
    done = run_example(str(EXAMPLES / "curl.sh"), url_of(program), token="wrong")
    assert done.returncode != 0


def test_the_script_goes_through_everything_and_what_is_said_fits_the_document(program):
    heard = Heard(url_of(program))
    done = run_example(str(EXAMPLES / "curl.sh"), url_of(program))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    state = httpx.get(url_of(program) + "/api/state", headers=BEARER, timeout=120).json()
    assert StreamState(**state).figures.phases_ms is not None
    program.interrupt()
    notices = [EVENT.validate_python(event) for event in heard.all()]
    kinds = {type(notice).__name__ for notice in notices}
    assert {"PromptAcceptedEvent", "Applied", "Visible", "ControlApplied", "TimelineReplaced", "Epoch"} <= kinds
    assert all(notice.latency_ms > 0 for notice in notices if isinstance(notice, Visible))
