"""A plug-in that fails while the stream runs: the run ends, fails, and says why."""

import pytest

from pp1_orchestrator.errors import Stage0Error
from tests.plugins import pages
from tests.system.in_process import run_script

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
