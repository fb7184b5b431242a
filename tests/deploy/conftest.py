"""One Prometheus over three streams: one that is well, one to be killed, and parts that lose frames and prompts.

The rules' durations are scaled down, so that nobody waits for minutes. All are shared by the tests of this folder.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.prometheus.rules import rules_page
from tests.deploy.lossy_stream import LossyStream
from tests.deploy.prometheus import BINARY, Prometheus, scraping
from tests.system.program import Running, running

SCALE = 0.1
PAUSE_S = 9
"""Before the mesh's third restart: longer than any scaled duration of an alert about a mesh that is missing."""
EASY = ("stream.fps=8", "stream.height=64", "stream.width=64", "run.warmup_chunks=2")
WELL = ("layout=inline", *EASY)
ILL = (
    "layout=cpu", "layout.mesh_ranks=1", *EASY,
    "supervision.restarts=100", f"supervision.pauses_s=[0,0,{PAUSE_S}]",
)  # fmt: skip


class Watched(NamedTuple):
    """Three streams and the Prometheus that scrapes them. ill: its mesh has not been touched before its test."""

    prometheus: Prometheus
    well: Running
    ill: Running
    station: LossyStream


@pytest.fixture(scope="package")
def watched(tmp_path_factory) -> Iterator[Watched]:
    if BINARY is None:
        pytest.skip("there is no Prometheus (package prometheus)")
    folder: Path = tmp_path_factory.mktemp("watched")
    rules = folder / "rules.yml"
    rules.write_text(rules_page(SCALE), encoding="utf-8")
    with (
        running(*WELL, out=folder / "well") as well,
        running(*ILL, out=folder / "ill") as ill,
        contextlib.closing(LossyStream()) as station,
    ):
        for program in (well, ill):
            program.wait_until(lambda program=program: "\npp1_ready 1.0" in program.get("/metrics")[1])
        with scraping([well.port, ill.port, station.port], folder, rules) as prometheus:
            yield Watched(prometheus, well, ill, station)
