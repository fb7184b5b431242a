"""How this process's log lines look, the same on every rank: text for people, or one JSON object a line for programs.

A line carries what is known of its place: rank, pid and the mesh's generation of the process, and of single lines the
ids that the code gave along (`extra={"chunk": 7}`). Prompts stay out of it unless `log.prompts` lets them in. Knows
nothing of what is logged, or where to.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from pp1_orchestrator.config.schema import LogSettings

IDS = ("generation", "chunk", "call_id", "epoch", "update")
PROMPT = "prompt"
COMPLAIN_S = 60.0


class JsonLines(logging.Formatter):
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


class Complaint:
    """In place of a traceback for every line that a file does not take: one line a minute on standard error."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._path, self._clock, self._told_s = path, clock, float("-inf")

    def __call__(self, record: logging.LogRecord) -> None:
        now_s, error = self._clock(), sys.exception()
        if now_s - self._told_s >= COMPLAIN_S and sys.__stderr__ is not None:
            self._told_s = now_s
            sys.__stderr__.write(f"{self._path} can't be written: {error}\n")


def spare_errors() -> None:
    """A log file on a full disk is not worth more than a line now and then."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = Complaint(handler.baseFilename)


def use_format(settings: LogSettings, rank: int, generation: int | None = None) -> None:
    """Give the handlers that there are the chosen format; warnings of libraries become log lines, too."""
    if settings.format == "text":
        return
    logging.captureWarnings(True)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines(rank, generation, settings.prompts))
