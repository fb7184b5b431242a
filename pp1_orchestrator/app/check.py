"""run=check: says what a checkpoint is, what is missing, what it expects, and how to run it. Loads no tensor.

With `check.make`, it is then loaded, and makes some chunks that can be looked at.
"""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec
from rich.console import Console
from rich.filesize import decimal

from pp1_orchestrator.app.check_make import make_and_judge
from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.config.families import Family, read_families
from pp1_orchestrator.config.schema import ModelSettings, Settings
from pp1_orchestrator.config.sizes import SizeSettings
from pp1_orchestrator.errors import ConfigError, first_line
from pp1_orchestrator.loading.scan_weights import Scanned, scan
from pp1_orchestrator.models.checkpoints.recognize import GENERATOR, LORA, TEXT_ENCODER, VAE, Recognized
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.user_paths import user_path

SHIPPED = "tiny"
PARTS = {VAE: "VAE", TEXT_ENCODER: "text encoder"}
COMPARED = ("window", "steps", "first_steps", "shift", "warp", "ema", "context", "cache")
"""What a model's weights expect, beside its sizes."""
GROUPS = ("context", "cache")
LISTED = 5
RUN = ("python", "-m", "pp1_orchestrator")
SIZE_KEYS = SizeSettings.__struct_fields__


def run_check(settings: Settings, config: WanConfig, registry: Registry, start: StreamStart, out: Path) -> None:
    """Say all of this. Raises ConfigError, in one line, for files that can't be run with the chosen model."""
    path = settings.model.folder if settings.check.path is None else user_path(settings.check.path)
    try:
        found = scan(path, settings.model.ema)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"check.path={path}: {first_line(error)}") from error
    console = Console(soft_wrap=True, markup=False, highlight=False)
    for line in report(settings, path, found):
        console.print(line)
    if problem := _problem(settings, path, found):
        raise ConfigError(problem)
    if settings.check.make:
        for line in make_and_judge(settings, config, registry, out):
            console.print(line)


def report(settings: Settings, path: Path, found: Scanned) -> Iterator[str]:
    """The lines of the report."""
    yield f"{path}: {decimal(sum(_size(one.path) for one in found.files))} of weights"
    for one in found.files:
        yield f"  {one.path.name}: {describe(one)}"
    yield from (f"  not readable: {line}" for line in found.unreadable)
    generator = found.first(GENERATOR)
    if generator is None or generator.sizes is None:
        return
    families = matching(generator, settings.model.name)
    if not families:
        yield f"model: of no known sizes; write a file in conf/model with {_sizes(generator.sizes)}"
        return
    family = families[0]
    others = ", ".join(other.option for other in families[1:])
    yield f"model: {family.option}" + (f"; the same names and sizes also fit {others}" if others else "")
    yield f"licence: {family.model.licence}"
    yield f"missing: {', '.join(_missing(family, found)) or 'nothing'}"
    yield f"expects: {_expected(family.model)}"
    yield f"model={settings.model.name} differs in: {', '.join(differences(settings, family)) or 'nothing'}"
    yield f"to run it: {command(family, path, found)}"


def describe(one: Recognized) -> str:
    """What one file holds."""
    parts = [f"{one.kind.replace('_', ' ')}, {one.parameters / 1e6:,.1f} million numbers in {one.tensors} tensors"]
    if one.sizes is not None:
        parts.append(_sizes(one.sizes))
    if one.layout:
        parts.append(one.layout)
    if one.sections:
        parts.append(f"sections {', '.join(one.sections)}, of which {one.section or 'none'} is read")
    if one.problem:
        parts.append(f"can't be run: {one.problem}")
    parts += [f"{what}: {_first(keys)}" for what, keys in _wrong(one).items()]
    return "; ".join(parts)


def matching(generator: Recognized, chosen: str) -> list[Family]:
    """Models of a file's sizes: first those whose place on the hub ends like its path, then the chosen one."""
    sizes = _by_size(generator.sizes)
    fitting = [family for family in read_families() if msgspec.structs.asdict(family.model.sizes) == sizes]

    def rank(family: Family) -> tuple[int, bool]:
        shared = max((_shared_tail(generator.path, Path(path)) for path in family.hub_paths), default=0)
        return -shared, family.model.name != chosen

    return sorted(fitting, key=rank)


def differences(settings: Settings, family: Family) -> list[str]:
    """Each setting of the chosen model that is another than the weights expect, as `key=value (expected)`."""
    expected, chosen = family.model, settings.model
    found = [
        f"model.{key}={_shown(getattr(chosen, key))} ({_shown(getattr(expected, key))})"
        for key in ("sizes", *COMPARED)
        if key not in GROUPS and getattr(chosen, key) != getattr(expected, key)
    ]
    for group in GROUPS:
        own, wanted = getattr(settings, group).name, getattr(expected, group)
        if own != wanted:
            found.append(f"{group}={own} ({wanted})")
    return found


def command(family: Family, path: Path, found: Scanned) -> str:
    """How to run the files in `path`."""
    if (path / GENERATOR).is_dir():
        return shlex.join([*RUN, family.option, f"model.root={path}"])
    places = {one.kind: one.path for one in reversed(found.files) if one.kind in (GENERATOR, LORA, *PARTS)}
    words = [*RUN, family.option, *(f"model.{part}={place}" for part, place in places.items())]
    words += [] if found.tokenizer is None else [f"model.tokenizer={found.tokenizer}"]
    return shlex.join(words)


def _problem(settings: Settings, path: Path, found: Scanned) -> str | None:
    generator, chosen = found.first(GENERATOR), settings.model
    if not found.files:
        reason = found.unreadable[0] if found.unreadable else f"{path}: no file of weights in it"
        return f"check.path={path}: {reason}"
    if found.misplaced:
        return f"check.path={path}: {found.misplaced[0]}"
    for one in found.files:
        if one.problem is not None:
            return f"check.path={path}: {one.path.name}: {one.problem}"
        if wrong := _wrong(one):
            listed = "; ".join(f"{what}: {_first(keys)}" for what, keys in wrong.items())
            return f"check.path={path}: {one.path.name}: {listed}"
    if generator is None or chosen.name == SHIPPED or _by_size(generator.sizes) == _by_size(chosen.sizes):
        return None
    fitting = ", ".join(family.option for family in matching(generator, chosen.name)) or "a model of your own"
    return f"model={chosen.name}: {generator.path} has {_sizes(generator.sizes)}; possible: {fitting}"


def _missing(family: Family, found: Scanned) -> Iterator[str]:
    hub = family.model.hub
    if hub.lora is not None and found.first(LORA) is None:
        yield f"LoRA ({hub.lora})"
    for kind, name in PARTS.items():
        if found.first(kind) is None:
            yield f"{name} ({getattr(hub, kind) or 'shipped'})"
    if found.tokenizer is None:
        yield f"tokenizer ({hub.tokenizer or 'shipped'})"


def _wrong(one: Recognized) -> dict[str, Sequence[str]]:
    wrong = {"missing or of another shape": one.missing, "unexpected": one.unexpected}
    return {what: keys for what, keys in wrong.items() if keys}


def _first(keys: Sequence[str]) -> str:
    more = len(keys) - LISTED
    return ", ".join(keys[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _by_size(sizes: WanConfig | msgspec.Struct | None) -> dict[str, int]:
    """Sizes by the keys of `model.sizes`."""
    return {} if sizes is None else {key: getattr(sizes, key) for key in SIZE_KEYS}


def _sizes(sizes: WanConfig | None) -> str:
    return "" if sizes is None else f"{sizes.num_layers} blocks, {sizes.dim} wide"


def _expected(model: ModelSettings) -> str:
    return ", ".join(f"{key}={_shown(getattr(model, key))}" for key in COMPARED)


def _shown(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        inside = ", ".join(f"{key}: {_shown(one)}" for key, one in msgspec.structs.asdict(value).items())
        return f"{{{inside}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, cast(tuple[object, ...], value)))}]"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _shared_tail(path: Path, other: Path) -> int:
    """How many parts at their ends two paths share."""
    pairs = zip(reversed(path.parts), reversed(other.parts), strict=False)
    return next((index for index, (one, two) in enumerate(pairs) if one != two), min(len(path.parts), len(other.parts)))


def _size(path: Path) -> int:
    return path.stat().st_size
