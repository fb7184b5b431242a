"""What no log may hold: every token and prompt that tests give to started programs, looked for in each program's log.

Kept for the whole test run, so a prompt of one program is looked for in the logs of those after it, too.
"""

import re
from collections.abc import Iterable

CREDENTIAL = re.compile(r"credential: ['\"]?([^'\",}]+)")
"""Of an ICE server, in an argument."""
KEYS = ("serving.token=", "serving.view_token=", "run.prompt=")
LONG = 12
"""Shorter texts could stand in a log by chance."""


class LogPrivacy:
    """Texts that are to stay out of logs."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def note(self, *texts: str | None) -> None:
        self._texts |= {text for text in texts if text is not None and len(text) >= LONG}

    def note_arguments(self, arguments: Iterable[str]) -> None:
        for argument in arguments:
            self.note(*CREDENTIAL.findall(argument))
            for key in KEYS:
                if argument.startswith(key):
                    self.note(argument.removeprefix(key).strip("'\""))

    def note_body(self, body: object) -> None:
        """Prompts of a request, however deep they are."""
        if isinstance(body, dict):
            self.note(*(body[key] for key in ("prompt", "text") if isinstance(body.get(key), str)))
            for value in body.values():
                self.note_body(value)
        elif isinstance(body, list):
            for value in body:
                self.note_body(value)

    def found_in(self, log: str) -> list[str]:
        return sorted(text for text in self._texts if text in log)


LOG_PRIVACY = LogPrivacy()
