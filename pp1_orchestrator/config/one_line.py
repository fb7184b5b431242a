"""An error of the configuration or of a run as one line of text. Knows nothing of where the line is shown."""

from __future__ import annotations

import re

from hydra.errors import MissingConfigException, OverrideParseException

UNREADABLE = "can't be read as key=value; a value with other signs than . - / : is quoted once more: \"a='b, c!'\""


def one_line(error: BaseException) -> str:
    """An error's text without its line breaks."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={option}: not an option; choices: {', '.join(error.options)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {UNREADABLE}"
    text = " ".join(part.strip() for part in str(error).splitlines() if part.strip())
    if several := re.match(r"Ambiguous value for argument '([^=]*)=.*' 1\. ", text):
        return f"{several[1]}: one text is quoted once more, \"a='b,c'\"; to try each of several values, add -m"
    if unknown := re.match(r"Could not override '(.+?)'", text):
        return f"{unknown[1]}: no such key; `--cfg job` lists all of them"
    return text
