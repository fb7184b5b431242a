"""Finds the classes of plug-ins: the one that an option names in its `class`, or an installed package's entry point.

A module is imported only if an option of these settings stands for a class in it, and after all settings are checked.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from typing import Generic, TypeVar, get_type_hints

import msgspec

from pp1_orchestrator.config.load_settings import describe
from pp1_orchestrator.config.schema import ClassSettings, Settings
from pp1_orchestrator.config.validate import CLASS
from pp1_orchestrator.errors import ConfigError, named_line
from pp1_orchestrator.processes.installed_packages import installed

ENTRY_POINTS = {
    "routing": "pp1_orchestrator.routing",
    "overlap": "pp1_orchestrator.overlap",
    "context": "pp1_orchestrator.context",
    "layout": "pp1_orchestrator.layout",
    "stage0": "pp1_orchestrator.decoder",
}
"""The group of entry points of each configuration group whose options stand for a class."""
EXTRAS = re.compile(r"\s|\[.*")
"""What an entry point may have beside `module:Class`: spaces, and extras of its package."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A class, and what makes an instance of it from the arguments of its base class."""

    kind: type[T]
    make: Callable[..., T]


def known_options(settings: Settings, group: str, built_in: Collection[str]) -> set[str]:
    """All names that a group's option may have. Imports nothing."""
    chosen: ClassSettings = getattr(settings, group)
    return {*built_in, *_installed(group), *([chosen.name] if chosen.class_path else [])}


def find_part(settings: Settings, group: str, base: type[T], built_in: Mapping[str, type[T]]) -> Part[T]:
    """The class that a group's option stands for. Raises ConfigError for a plug-in that can't be used."""
    chosen: ClassSettings = getattr(settings, group)
    own = [chosen.class_path] if chosen.class_path else _installed(group).get(chosen.name, [])
    option = f"{group}={chosen.name}"
    if chosen.name in built_in and own:
        raise ConfigError(f"{option}: this name is built in; {own[0]} needs another one")
    if len(own) > 1:
        raise ConfigError(f"{option}: several installed packages have it: {', '.join(own)}; keep one of them")
    kind = _import(f"{option}: {own[0]}", own[0], base) if own else built_in[chosen.name]
    return Part(kind, _with_options(kind, group, chosen))


def check_traits(kind: type, traits: type) -> None:
    """Raise ConfigError where a class attribute that a plan depends on does not have the type that `traits` says."""
    for name, wanted in get_type_hints(traits).items():
        value = getattr(kind, name, None)
        try:
            msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            raise ConfigError(describe(str(error), value, f"{kind.__module__}:{kind.__qualname__}.{name}")) from error


def _installed(group: str) -> Mapping[str, list[str]]:
    """The classes of installed packages by the name of their option."""
    found: dict[str, list[str]] = {}
    for point in installed(ENTRY_POINTS[group]):
        found.setdefault(point.name, []).append(EXTRAS.sub("", point.value))
    return found


def _import(where: str, path: str, base: type[T]) -> type[T]:
    if not CLASS.fullmatch(path):
        raise ConfigError(f"{where}: expected package.module:Class")
    module, _, name = path.partition(":")
    try:
        kind = getattr(import_module(module), name, None)
    except (Exception, SystemExit) as error:  # foreign code may fail in any way; here that is one line
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(f"{where}: no module {error.name}; is it installed, or on PYTHONPATH?") from error
        raise ConfigError(f"{where}: importing {module} failed: {named_line(error)}") from error
    if kind is None:
        raise ConfigError(f"{where}: {module} has no {name}")
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ConfigError(f"{where}: no subclass of {base.__name__}, see pp1_orchestrator.plugin_api")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ConfigError(f"{where}: lacks {', '.join(missing)}, which {base.__name__} asks for")
    return kind


def _with_options(kind: type[T], group: str, chosen: ClassSettings) -> Callable[..., T]:
    """Makes an instance with the options of the configuration, checked, if the class has a struct `Options`."""
    wanted: object = getattr(kind, "Options", None)
    if wanted is None:
        _check_names(group, chosen, [])
        return kind
    where = f"{group}={chosen.name}: {kind.__module__}:{kind.__qualname__}"
    if not (isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)):
        raise ConfigError(f"{where}.Options is no msgspec.Struct")
    try:
        signature(kind).bind_partial(options=None)
    except TypeError as error:
        raise ConfigError(f"{where} has Options, but its __init__ has no parameter options") from error
    return partial(kind, options=_read_options(f"{where}.Options", wanted, group, chosen))


def _read_options(where: str, wanted: type[msgspec.Struct], group: str, chosen: ClassSettings) -> msgspec.Struct:
    try:
        _check_names(group, chosen, [field.encode_name for field in msgspec.structs.fields(wanted)])
        return msgspec.convert(chosen.options, wanted)
    except ConfigError:
        raise
    except msgspec.ValidationError as error:
        raise ConfigError(describe(str(error), chosen.options, f"{group}.options")) from error
    except Exception as error:  # a type that can't be read, or anything that its __post_init__ raises
        raise ConfigError(f"{where}: {named_line(error)}") from error


def _check_names(group: str, chosen: ClassSettings, names: Sequence[str]) -> None:
    for name, value in chosen.options.items():
        if name not in names:
            raise ConfigError(f"{group}.options.{name}={value}: no such option; possible: {', '.join(names) or 'none'}")
