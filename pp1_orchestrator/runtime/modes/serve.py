"""run=serve: stream to viewers until stopped."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import Stage0Error
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.runtime.compose import Stream
from pp1_orchestrator.runtime.instruments import Instruments
from pp1_orchestrator.runtime.results import write_results
from pp1_orchestrator.runtime.vitals import Vitals
from pp1_orchestrator.stage0.script import Script

log = logging.getLogger(__name__)


def run_serve(settings: Settings, config: WanConfig, script: Script, out: Path) -> None:
    """Raises ConfigError for an address that can't be had, or the stream's failure once the server has ended."""
    # Imported here: the web stack costs seconds that a bench need not pay.
    from pp1_orchestrator.runtime.web import Web

    web = Web(settings)
    instruments = Instruments.make(settings.run.warmup_chunks)
    with ExitStack() as opened:
        sink = web.make_sink(instruments, out)
        opened.callback(sink.close)
        stream = Stream(settings, config, script, instruments, sink, trace_folder=out if settings.trace else None)
        opened.callback(stream.close)
        vitals = Vitals(stream, instruments.metrics, instruments.events)
        opened.callback(vitals.close)
        stream.session.start()
        web.serve(stream.session, instruments, out)
    try:
        write_results(settings, instruments, None, stream, out)
    except Stage0Error as error:  # what was shown was shown
        log.warning("%s", error)
    log.info("stopped; see %s", out)
    if stream.session.failure is not None:
        raise stream.session.failure
