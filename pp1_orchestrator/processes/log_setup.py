"""The format of this process's log lines, the same on every rank: text, or one JSON object a line.

A JSON line has the rank, the pid and the mesh's generation, and the ids that the code passes (`extra={"chunk": 7}`).
Prompts are left out unless `log.prompts` is set. Knows nothing of what is logged, or where to.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from pp1_orchestrator.config.schema import LogSettings

IDS = ("generation", "chunk", "call_id", "epoch", "update")
PROMPT, PASSES = "prompt", "passes"
REPORT_EVERY_S = 60.0
STRANGERS = (
    "aioice", "aiortc", "asyncio", "gradio", "py.warnings", "uvicorn",
    "pp1_orchestrator.media", "pp1_orchestrator.server", "pp1_orchestrator.stage0.prompt_queue",
)  # fmt: skip
"""Loggers of code that clients can make log."""
LINES_A_MINUTE = 60
"""Of one kind below WARNING; above it is one."""
tracebacks = logging.getLogger("pp1_orchestrator.tracebacks")
"""Where an error that is told in one line came from. For log files only, once `keep_from_console` has been called."""


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, rank, pid, message, ids, and an error with its traceback."""

    def __init__(self, rank: int, generation: int | None, prompts: bool) -> None:
        super().__init__()
        self._process = {"rank": rank} if generation is None else {"rank": rank, "generation": generation}
        self._extras = (*IDS, PROMPT) if prompts else IDS

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            **self._process,
            "pid": record.process,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in self._extras if hasattr(record, name)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class FileErrorReport:
    """Reports a log that can't be written, on standard error, once a minute. `logging` would print a traceback
    for every line. name: of the log. clock: seconds."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock, self._last_s = name, clock, float("-inf")

    def __call__(self, record: logging.LogRecord) -> None:
        now_s, error = self._clock(), sys.exception()
        if now_s - self._last_s >= REPORT_EVERY_S and sys.__stderr__ is not None:
            self._last_s = now_s
            with contextlib.suppress(OSError, ValueError):  # it may be on the same disk, or closed
                sys.__stderr__.write(f"{self._name} can't be written: {error}\n")


class FloodFilter(logging.Filter):
    """Lets few lines of one kind a minute through, of those that a stranger can cause. One for all handlers.

    A kind is a place in the code, and that where an error was raised: texts may be a client's. clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(STRANGERS):
            return True
        if PASSES not in record.__dict__:  # the next handler gets the same record
            record.__dict__[PASSES] = self._count(record)
        return record.__dict__[PASSES]

    def _count(self, record: logging.LogRecord) -> bool:
        kind, now_s = _kind_of(record), self._clock()
        since_s, count = self._counts.get(kind, (now_s, 0))
        if now_s - since_s >= REPORT_EVERY_S:
            since_s, count = now_s, 0
        self._counts[kind] = since_s, count + 1
        return count < (1 if record.levelno >= logging.WARNING else LINES_A_MINUTE)


def _kind_of(record: logging.LogRecord) -> tuple[object, ...]:
    link = record.exc_info[2] if record.exc_info else None
    raised = None
    while link is not None:
        raised, link = (link.tb_frame.f_code.co_filename, link.tb_lineno), link.tb_next
    return record.pathname, record.lineno, raised


def limit_floods() -> None:
    """Install one `FloodFilter` for all handlers."""
    flood_filter = FloodFilter()
    for handler in logging.getLogger().handlers:
        handler.addFilter(flood_filter)


def keep_from_console() -> None:
    """Write `tracebacks` into log files only."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: record.name != tracebacks.name)


def limit_file_errors() -> None:
    """Install a `FileErrorReport` for every log file, and for the standard output: another file, or a pipe."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            name = handler.baseFilename if isinstance(handler, logging.FileHandler) else "the standard output"
            handler.handleError = FileErrorReport(name)


def set_format(settings: LogSettings, rank: int, generation: int | None = None) -> None:
    """Give all present handlers the chosen format. For JSON, warnings of libraries become log lines as well."""
    if settings.format == "text":
        return
    logging.captureWarnings(True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter(rank, generation, settings.prompts))
