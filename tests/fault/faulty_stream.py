"""Streams in this process whose mesh, in processes of its own, fails by script; and what is heard of it."""

import contextlib
import time

from tests.system.in_process import open_stream

WAIT_S = 240
MESH = (
    "layout=cpu", "run.restarts=3", "supervision.pauses_s=[0]", "run.chunks=100000", "stream.height=64",
    "stream.width=64",
)  # fmt: skip


class FaultyStream:
    """A running stream and its events."""

    def __init__(self, run) -> None:
        self.run, self._events = run, run.instruments.events.subscribe(lambda: None)
        self._heard = []

    @property
    def session(self):
        return self.run.session

    @property
    def chunks(self):
        return self.run.sink.chunks

    def of(self, kind: str) -> list[dict]:
        """Events of one kind, oldest first."""
        self._heard += self._events.drain()
        return [event for event in self._heard if event["event"] == kind]

    def wait_for(self, condition) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert self.session.failure is None, self.session.failure
            assert time.monotonic() < end, self._heard
            time.sleep(0.01)

    def wait_for_epoch(self, epoch: int) -> None:
        """Until something of it is shown."""
        self.wait_for(lambda: self.chunks and self.chunks[-1].cache_epoch == epoch)

    def restarts(self, reason: str) -> float | None:
        return self.sample("pp1_mesh_restarts_total", reason=reason)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.run.instruments.metrics.registry.get_sample_value(name, labels)


@contextlib.contextmanager
def faulty_stream(kind: str, *choices: str, rank: int = 1, chunk: int = 4, ranks: int = 1, out=None, script=()):
    """A stream that has been started and will meet the fault."""
    fault = ("debug=fault", f"debug.fault.kind={kind}", f"debug.fault.rank={rank}", f"debug.fault.chunk={chunk}")
    with open_stream(*MESH, f"layout.mesh_ranks={ranks}", *fault, *choices, out=out, script=script) as run:
        stream = FaultyStream(run)
        run.session.start()
        yield stream
