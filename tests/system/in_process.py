"""A whole stream in this process: the real settings, models, strategies and session, without the command line."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from pp1_orchestrator.app.bench import summarize
from pp1_orchestrator.app.strategy_registry import Registry, check
from pp1_orchestrator.app.stream import Instruments, Stream
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.stage0.in_flight_chunk import InFlightChunk
from pp1_orchestrator.stage0.observers import BaseObserver, Digests
from pp1_orchestrator.telemetry.summary import Summary
from pp1_orchestrator.types import DecodedChunk, TimelineEntry

SMALL = ("stream.height=64", "stream.width=64")
"""A quarter of the work; what these tests look at does not depend on the size."""
CONF = Path(__file__).resolve().parents[2] / "conf"


class KeepingSink:
    """A FrameSink that is never full and keeps every chunk."""

    def __init__(self) -> None:
        self.chunks: list[DecodedChunk] = []

    def put(self, chunk: DecodedChunk) -> None:
        self.chunks.append(chunk)

    def wait_for_room(self, timeout_s: float, coming: int = 0, lead_s: float = 0.0) -> bool:
        return True

    def flush(self) -> None:
        """What was put was seen."""

    def close(self) -> None:
        """Nothing is open."""


class LatentsObserver(BaseObserver):
    """An observer that keeps the latents of every emitted chunk."""

    def __init__(self) -> None:
        self.latents: list[torch.Tensor] = []
        self.contexts: list[torch.Tensor | None] = []
        self.planned_chunks: list[InFlightChunk] = []

    def planned(self, chunk) -> None:
        self.planned_chunks.append(chunk)
        self.contexts.append(chunk.envelope.tensors.get("context_frames"))

    def emitted(self, chunk, latents, decoded) -> None:
        self.latents.append(latents)


class Run:
    """A stream with what watches it."""

    def __init__(self, stream, settings, instruments, digests, sink, kept) -> None:
        self.stream, self.settings, self.instruments = stream, settings, instruments
        self.digests, self.sink, self.kept = digests, sink, kept

    @property
    def session(self):
        return self.stream.session

    def summary(self) -> Summary:
        return summarize(self.settings, self.instruments, self.digests, self.stream)


def make_settings(*choices: str) -> tuple[Settings, WanConfig]:
    """Checked settings and the generator's sizes, without the command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", ["run=bench", "layout=inline", "run.warmup_chunks=2", *choices])
    settings = load_settings(composed)
    return settings, check(settings, {"bench", "serve"})[0]


@contextlib.contextmanager
def open_stream(
    *choices: str,
    script: Sequence[TimelineEntry] = (),
    out: Path | None = None,
    observers: Sequence[BaseObserver] = (),
) -> Iterator[Run]:
    """A stream that has not been started, closed at the end; inline and small unless the choices say otherwise.

    out: the run's folder, if it has one.
    """
    settings, config = make_settings(*SMALL, *choices)
    instruments, digests = Instruments(settings.run.warmup_chunks), Digests()
    sink, kept = KeepingSink(), LatentsObserver()
    watchers, registry = [digests, kept, *observers], Registry(settings)
    stream = Stream(settings, config, registry, list(script), instruments, sink, watchers, trace_folder=out)
    try:
        yield Run(stream, settings, instruments, digests, sink, kept)
    finally:
        stream.close()


def run_script(*choices: str, chunks: int, script: Sequence[TimelineEntry] = ()) -> tuple[Summary, Run]:
    """Run a script to its end. Raises the stream's failure."""
    with open_stream(*choices, f"run.chunks={chunks}", script=script) as run:
        run.session.start()
        assert run.session.done.wait(240)
    if run.session.failure is not None:
        raise run.session.failure
    return run.summary(), run
