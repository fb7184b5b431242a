"""Settings from Python: Hydra's composition of `conf/` with overrides, as the command line makes it.

Uses no global state of Hydra, which may be the caller's own, and leaves no folder.
"""

import os
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pp1_orchestrator.config.command_flags import GIVEN, check_groups
from pp1_orchestrator.config.conf_files import CONF
from pp1_orchestrator.config.load_settings import load_settings, one_line
from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.user_paths import user_path

VERSION_BASE = "1.3"
_lock = threading.Lock()


def compose_settings(
    overrides: Sequence[str], config_dir: str | os.PathLike[str] | None, values: Mapping[str, object]
) -> Settings:
    """Compose settings; raises ConfigError with the line that the command line prints.

    Args:
        overrides: as on the command line, such as "overlap=sync" or "stream.height=64".
        config_dir: a folder with more options of groups, as `--config-dir`.
        values: more overrides, by key; they go last. A mapping stands for the keys in it.
    """
    given = [*overrides, *(text for key, value in values.items() for text in as_overrides(key, value))]
    check_groups(given)
    try:
        return load_settings(_compose(given, config_dir))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error


def as_overrides(key: str, value: object) -> Iterator[str]:
    """A value in the grammar of Hydra's overrides. Raises ConfigError for what no setting can be."""
    if isinstance(value, Mapping):
        for name, part in cast(Mapping[object, object], value).items():
            yield from as_overrides(f"{key}.{name}", part)
    else:
        yield f"{key}={_as_text(key, value)}"


def _as_text(key: str, value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | os.PathLike):
        return QuotedString(os.fspath(cast("str | os.PathLike[str]", value)), Quote.single).with_quotes()
    if isinstance(value, list | tuple):
        return f"[{','.join(_as_text(key, item) for item in cast(Sequence[object], value))}]"
    if isinstance(value, Mapping):
        items = cast(Mapping[object, object], value).items()
        return f"{{{','.join(f'{name}: {_as_text(key, item)}' for name, item in items)}}}"
    possible = "text, a path, a number, True, False, None, a list, a mapping"
    raise ConfigError(f"{key}: a {type(value).__name__} is no value of a setting; possible: {possible}")


def _compose(overrides: Sequence[str], config_dir: str | os.PathLike[str] | None) -> DictConfig:
    """The program's own part of what Hydra composes, without `hydra`."""
    for override in cast(Sequence[object], overrides):
        if not isinstance(override, str):
            raise ConfigError(f"{override!r}: not a setting; expected text such as 'overlap=sync'")
    path = create_config_search_path(str(CONF))
    if config_dir is not None:
        folder = user_path(config_dir).resolve()
        if not folder.is_dir():
            raise ConfigError(f"Additional config directory '{folder}' not found")
        path.prepend(GIVEN, f"file://{folder}", SearchPathQuery("schema", None))
    with _lock, _our_version_base():
        composed = ConfigLoaderImpl(path).load_configuration("config", list(overrides), RunMode.RUN, from_shell=False)
    with open_dict(composed):
        del composed["hydra"]
    return composed


@contextmanager
def _our_version_base() -> Generator[None]:
    """Inside, Hydra composes by the rules of `VERSION_BASE`; outside, by those that the caller has chosen, if any."""
    holder: Any = version.VersionBase.instance()
    before = holder.version_base
    version.setbase(VERSION_BASE)
    try:
        yield
    finally:
        holder.version_base = before
