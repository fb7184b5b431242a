"""Options of the command line itself, such as `--cfg`: a wrong one is refused in one line, as a wrong setting is.

Hydra's own parser would print its whole usage.
"""

import contextlib
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from pp1_orchestrator.config.conf_files import group_names, option_files
from pp1_orchestrator.errors import ConfigError

LONGEST_NAME = 200
ALL = "`pp1 --hydra-help` lists all"
CONFIG_DIR, GIVEN = "--config-dir", "command-line"
"""The option, and Hydra's name for where its folder comes from."""


def check_flags(words: Sequence[str]) -> None:
    """Raise ConfigError for words of the command line that Hydra would refuse as its own options."""
    parser: Any = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ConfigError(_line(message, words, list(parser._option_string_actions)))

    parser.error = refuse
    parser.parse_args(list(words))


def given_folder(sources: Iterable[Any]) -> str | None:
    """The folder of `--config-dir`, of all that a configuration was composed from (`hydra.runtime.config_sources`)."""
    return next((str(source.path) for source in sources if source.provider == GIVEN), None)


def check_groups(overrides: Iterable[str]) -> None:
    """Raise ConfigError for a group that is given a number or a truth value, and for a name without end.

    Hydra fails at both.
    """
    known = group_names()
    for override in overrides:
        group, _, option = override.lstrip("+").partition("=")
        if len(group) > LONGEST_NAME:  # Hydra asks the file system for a group of that name
            raise ConfigError(f"{group[:40]}…: not a setting; no name has {len(group)} characters")
        if not option or group not in known:
            continue
        with contextlib.suppress(HydraException):  # Hydra tells of these in a line itself
            parsed = OverridesParser.create().parse_override(override)
            if not parsed.is_sweep_override() and isinstance(parsed.value(), (bool, int, float, dict)):
                choices = [path.stem for path in option_files(group)]
                raise ConfigError(f"{group}={option}: not an option; choices: {', '.join(choices)}")


def _line(message: str, words: Sequence[str], known: Sequence[str]) -> str:
    unknown = message.removeprefix("unrecognized arguments: ")
    if unknown != message:
        flag = unknown.split()[0]
        if not flag.startswith("-"):
            return f"{flag}: settings stand side by side; put options such as -m before or after all of them"
        near = difflib.get_close_matches(flag.partition("=")[0].replace("_", "-"), known, 1)
        meant = f"did you mean {near[0]}?" if near else ALL
        return f"{flag}: not an option of the command line; {meant}"
    if "ignored explicit argument" in message:
        word = next(word for word in words if word.startswith("-") and "=" in word)
        return f"{word}: a setting has no dashes; did you mean {word.lstrip('-')}?"
    return f"{message}; {ALL}"
