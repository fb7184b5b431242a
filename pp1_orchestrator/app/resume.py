"""Continues the show of an earlier run, and keeps that of this one: `run.resume` and `run.show`."""

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.polling_thread import PollingThread
from pp1_orchestrator.stage0 import show_file
from pp1_orchestrator.stage0.show import Show
from pp1_orchestrator.stage0.timeline import Script, read_script
from pp1_orchestrator.types import KnownClient, PromptUpdate
from pp1_orchestrator.user_paths import user_path

log = logging.getLogger(__name__)
AUTO, NEVER = "auto", "never"
SAVE_EVERY_S = 1.0
CLOSE_S = 5.0
"""How long the last write may take; a disk that hangs must not keep the program."""


@dataclass(frozen=True, slots=True)
class StreamStart:
    """What a stream begins with. history, clients: of the show that it continues. words: of the command line."""

    script: Script
    history: Sequence[PromptUpdate] = ()
    clients: Sequence[KnownClient] = ()
    locks: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, compare=False)
    """Open while this process runs the show, and with it that of the run which it continues."""
    words: Sequence[str] = ()


def stream_start(settings: Settings, given: Collection[str], out: Path) -> StreamStart:
    """Read the script, or the show to continue. Raises ConfigError for a file that was asked for and can't be used.

    given: the settings that were set on the command line. out: the run's folder.
    """
    run = settings.run
    if run.script is not None:
        return StreamStart(read_script(user_path(run.script)))  # a script is a show from its start
    if run.resume == NEVER:
        return StreamStart([])
    locks = contextlib.ExitStack()
    try:
        path = show_file.newest(run.show, out, Path(settings.outputs)) if run.resume == AUTO else _named(run.resume)
        if path is None:
            return StreamStart([])
        if path.parent.resolve() != out.resolve():
            locks.enter_context(show_file.locked(path.parent))
        show = show_file.read(path)
    except ConfigError as error:
        locks.close()
        if run.resume != AUTO:
            raise ConfigError(f"run.resume={run.resume}: {error}") from error
        log.warning("the show %s begins anew: %s", run.show, error)
        return StreamStart([])
    log.info("continuing the show of %s; run.resume=never would begin anew", path.parent)
    return StreamStart(show.script(given), show.history, show.clients, locks)


def _named(text: str) -> Path:
    """The file that run.resume names itself, or by its folder."""
    path = user_path(text)
    return path / show_file.FILE if path.is_dir() else path


class ShowKeeper(PollingThread):
    """Keeps the show of a run in its folder: writes it when it has changed, beside everything else.

    show: the show now, or None. locks: is closed at the end.
    """

    def __init__(self, show: Callable[[], Show | None], name: str, folder: Path, locks: contextlib.ExitStack) -> None:
        self._show, self._name, self._folder, self._locks = show, name, folder, locks
        self._kept: Show | None = None
        self._said: str | None = None
        try:
            locks.enter_context(show_file.locked(folder))
        except ConfigError as error:
            log.warning("this show can't be continued later: %s", error)
            self._show = lambda: None
        super().__init__("show", SAVE_EVERY_S)

    def close(self) -> None:
        """Keep the last state, within `CLOSE_S`."""
        self._closed.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("the end of the show is not kept: nothing was written for %g s; is its disk there?", CLOSE_S)
        self._locks.close()

    def _run(self) -> None:
        super()._run()
        self._poll(0.0, 0.0)

    def _poll(self, now_s: float, suspended_s: float) -> bool:
        show = self._show()
        if show is None or show == self._kept:
            return True
        try:
            show_file.write(self._encoded(show), self._folder)
        except OSError as error:
            self._say(f"the show can't be kept: {error.strerror}")
        else:
            self._kept = show
        return True

    def _encoded(self, show: Show) -> bytes:
        data = show_file.encode(show, self._name)
        if data is None:
            self._say("the timeline is too large to be kept with the show")
            data = show_file.encode(msgspec.structs.replace(show, timeline=()), self._name)
            assert data is not None  # its other parts are bounded, and far smaller
        return data

    def _say(self, line: str) -> None:
        """Once, until there is something else to say."""
        if line != self._said:
            log.warning("%s", line)
        self._said = line
