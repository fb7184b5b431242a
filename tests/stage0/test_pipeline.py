"""What happens to the updates of chunks that are dropped, and to timelines that come while chunks are planned."""

import gc
import threading
import time
from types import FunctionType

import pytest
import torch

from pp1_orchestrator.stage0.observers import BaseObserver
from pp1_orchestrator.stage0.overlap.strategies import Sync
from pp1_orchestrator.stage0.pipeline import all_finite
from pp1_orchestrator.types import Control, TimelineEntry
from tests.system.in_process import open_stream

BLUE = "a blue square moving up on a white background"
UPDATED = 3


def test_an_update_of_a_chunk_that_a_cut_drops_is_shown_by_the_next_chunk():
    """The next chunk has already been accepted: it waits for the decoder, too."""

    class CutOnce(BaseObserver):
        def planned(self, chunk) -> None:
            if chunk.index == UPDATED:
                run.session.control(Control(action="hard_cut"))

    script = [TimelineEntry(chunk=UPDATED, prompt=BLUE)]
    choices = ("overlap=decode_thread", "overlap.d_out=4", "debug.decode_s=0.6", "run.chunks=8")
    with open_stream(*choices, script=script, observers=[CutOnce()]) as run:
        run.session.start()
        assert run.session.done.wait(240)
        assert run.session.failure is None
        _, blue = (update.id for update in run.session.updates())
        shown = [chunk.chunk_index for chunk in run.sink.chunks if blue in chunk.update_ids]
        assert UPDATED not in {chunk.chunk_index for chunk in run.sink.chunks}
        assert shown == [UPDATED + 1]


class SlowEntries(list):
    """Entries that take as long to read as the stream takes to plan some chunks, or a second."""

    def __init__(self, entries, planned) -> None:
        super().__init__(entries)
        self._planned = planned

    def __iter__(self):
        end, first = time.monotonic() + 1, self._planned()
        while self._planned() < first + 3 and time.monotonic() < end:
            time.sleep(0.002)
        return super().__iter__()


def test_a_timeline_applies_though_chunks_are_planned_while_it_is_put_in():
    with open_stream("run.chunks=100000", "overlap.d_in=2") as run:
        run.session.start()
        while len(run.sink.chunks) < 2:
            time.sleep(0.002)
        entries = SlowEntries([TimelineEntry(chunk=0, prompt=BLUE)], lambda: len(run.kept.planned_chunks))
        soonest = run.session.set_timeline(entries, relative=True)
        while len(run.kept.planned_chunks) < soonest + 2:
            time.sleep(0.002)
        updates = run.session.updates()
        assert [update.applied_chunk for update in updates] == [0, soonest]


def test_a_stream_that_cannot_be_opened_leaves_no_thread(monkeypatch):
    class Refusing(Sync):
        def __init__(self, parts) -> None:
            raise RuntimeError("no room for a thread")

    monkeypatch.setattr("pp1_orchestrator.app.strategy_registry.OVERLAPS", {"sync": Refusing})
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="no room for a thread"), open_stream("overlap=sync"):
        pass
    assert [thread.name for thread in set(threading.enumerate()) - before] == []


def pending_sends() -> int:
    """How many of the functions that wait for a send are alive."""
    functions = (thing for thing in gc.get_objects() if type(thing) is FunctionType)
    return sum(function.__qualname__ == "MeshLink.start_send.<locals>.wait_until_taken" for function in functions)


def test_a_send_is_let_go_of_when_its_result_is_here():
    """It holds the transport's own objects, which must not outlive a mesh."""
    alive: dict[str, list[int]] = {"planned": [], "emitted": []}

    class CountSends(BaseObserver):
        def planned(self, chunk) -> None:
            alive["planned"].append(pending_sends())

        def emitted(self, chunk, latents, decoded) -> None:
            alive["emitted"].append(pending_sends())

    with open_stream("overlap=loop_ahead", "run.chunks=3", observers=[CountSends()]) as run:
        run.session.start()
        assert run.session.done.wait(240)
    assert alive == {"planned": [0, 0, 0], "emitted": [1, 1, 0]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_not_finite_is_found(dtype, value):
    latents = torch.full((1, 3, 4, 5, 6), torch.finfo(dtype).max, dtype=dtype)
    assert all_finite(latents)
    latents[0, 1, 2, 3, 4] = value
    assert not all_finite(latents)
