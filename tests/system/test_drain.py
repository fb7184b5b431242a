"""What clients ask for while the program ends: each gets an answer or a closed connection, and it ends in time."""

import http.client
import json
import signal
import threading

import av
import pytest

from tests.fault.sdp_offers import seeds
from tests.system.program import running
from tests.timing import stopwatch

SMALL = ("layout=cpu", "layout.mesh_ranks=1", "stream.height=64", "stream.width=64")
STOP_S = 10
JSON = "application/json"
ASKED = {
    "resume": ("POST", "/api/control", JSON, {"action": "resume"}),
    "update": ("POST", "/api/prompt", JSON, {"prompt": "a red circle moving left on a blue background"}),
    "clip": ("POST", "/api/clips", JSON, {"action": "start"}),
    "offer": ("POST", "/whep", "application/sdp", seeds()[0]),
    "timeline": ("PUT", "/api/timeline", JSON, {"entries": [{"chunk": 0, "prompt": "a green star"}]}),
    "events": ("GET", "/api/events", JSON, None),
}
ANSWERS = {200, 201, 202, 409, 429, 503}


class Client:
    """Asks for one thing again and again on a connection that it has already, until that is closed."""

    def __init__(self, port: int, method: str, path: str, media_type: str, body: object) -> None:
        self.statuses: list[int] = []
        self._request = method, path, body if isinstance(body, str) or body is None else json.dumps(body)
        self._headers = {"Content-Type": media_type}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._connection.request("GET", "/healthz")
        assert self._connection.getresponse().read() == b"ok\n"
        self._connection.auto_open = 0
        self._thread = threading.Thread(target=self._ask)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(240)
        assert not self._thread.is_alive()

    def _ask(self) -> None:
        try:
            while True:
                self._connection.request(*self._request, self._headers)
                answer = self._connection.getresponse()
                self.statuses.append(answer.status)
                answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "running"])
def test_whatever_is_asked_while_it_ends(tmp_path, paused):
    with running(*SMALL, out=tmp_path / "out") as program:
        program.wait_until_ready()
        if paused:
            program.post("/api/control", {"action": "pause"})
        clients = [Client(program.port, *asked) for asked in ASKED.values()]
        program.process.send_signal(signal.SIGTERM)
        with stopwatch() as watch:
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            assert program.process.wait(240) == 0, program.log
        assert watch.within(STOP_S)
        assert {status for client in clients for status in client.statuses} <= ANSWERS
        assert "Traceback" not in program.log
        assert "ERROR" not in program.log
    for clip in (tmp_path / "out").glob("clips/*.mp4"):
        with av.open(str(clip)) as file:
            assert next(file.decode(video=0)).width == 64
