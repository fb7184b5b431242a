"""A plug-in that fails while the stream runs: the run ends, fails, and says why."""

import re
import time

import pytest

from pp1_orchestrator.app.stream import WAITS_A_STEP
from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.types import Control
from tests.plugins import pages
from tests.system.in_process import open_stream, run_script
from tests.system.program import run_to_end, running
from tests.timing import scaled

MESSAGE_S = 0.5
LIMITS = (f"deadlines.message={MESSAGE_S}", f"deadlines.answer={MESSAGE_S}")

EXITING = """
import sys
from my_parts.decoder import PreviewDecoder, PreviewLoader
from my_parts.overlap import Cool
from pp1_orchestrator.plugin_api import VaeParts

class Overlap(Cool):
    made = 0
    def step(self, pipeline):
        self.made += 1
        return super().step(pipeline) if self.made < 2 else sys.exit(7)

class Decoder(PreviewDecoder):
    def decode(self, latents, state):
        sys.exit(7)

class Loader(PreviewLoader):
    def load(self, *arguments, **more):
        parts = super().load(*arguments, **more)
        parts.decoder.__class__ = Decoder
        return parts
"""


@pytest.fixture
def exiting(guide, tmp_path) -> list[str]:
    pages.write({"my_parts/exiting.py": EXITING}, tmp_path)
    return guide


def test_an_overlap_that_exits_fails_the_run(exiting):
    """Not as a short run that has ended well."""
    with pytest.raises(Stage0Error, match=r"^a part of the stream has called sys\.exit: SystemExit: 7$"):
        run_script(*exiting, "overlap=cool", "overlap.class=my_parts.exiting:Overlap", chunks=3)


def test_a_decoder_that_exits_on_its_own_thread_fails_the_run(exiting):
    decoder = ["stage0=preview", "stage0.file=null", "stage0.class=my_parts.exiting:Loader", "model.weights=random"]
    with pytest.raises(Stage0Error, match=r"^decoding failed: SystemExit: 7$"):
        run_script(*exiting, *decoder, "overlap=decode_thread", chunks=9)


def own(name: str) -> list[str]:
    path = f"tests.plugins.failing_overlaps:{name}"
    return ["layout=inline", "plugins.allow=[tests]", "overlap.name=own", f"+overlap.class={path}"]


def test_an_overlap_that_raises_is_one_line_and_its_traceback_is_in_the_log_file(tmp_path):
    done = run_to_end(*own("Raising"), "run=bench", out=tmp_path / "out")
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "failed: a part of the stream has failed: LookupError: nothing here\n" in said
    assert "Traceback" not in said
    assert 'raise LookupError("nothing here")' in next((tmp_path / "out").glob("*.log")).read_text()


@pytest.mark.parametrize(("name", "mode"), [("Stuck", "bench"), ("Forgetful", "bench"), ("Idle", "serve")])
@pytest.mark.slow
def test_an_overlap_that_makes_no_chunk_ends_the_program(tmp_path, name, mode):
    with running(*own(name), f"run={mode}", *LIMITS, out=tmp_path / "out") as program:
        assert program.process.wait() == 1
        line = r"failed: overlap=own hangs on rank 0: no answer for ([\d.]+) s, ([\d.]+) s are allowed\n"
        found = re.search(line, program.log)
        assert found, program.log
        assert float(found[1]) >= float(found[2]) > WAITS_A_STEP * MESSAGE_S
        assert "Traceback" not in program.log
    assert "in _make_chunks" in (tmp_path / "out" / "hang-1" / "rank0.txt").read_text()


def test_a_pause_may_last():
    """What no chunk is wanted for is not waited for."""
    with open_stream() as run:
        run.session.control(Control(action="pause"))
        run.session.start()
        timer, end, starts = run.session._parts.progress_timer, time.monotonic() + scaled(60), set()
        while len(starts) < 5:
            starts |= {timer._wait} - {None}
            assert time.monotonic() < end
        assert run.kept.planned_chunks == []
