"""What run=check says of the files that it found: a line for each thing. Opens no weights."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec
from rich.filesize import decimal

from pp1_orchestrator.config.compose import as_overrides
from pp1_orchestrator.config.families import Family, read_families
from pp1_orchestrator.config.schema import ModelSettings, Settings
from pp1_orchestrator.config.sizes import SizeSettings
from pp1_orchestrator.loading.scan_weights import Scanned, stored_bytes
from pp1_orchestrator.models.checkpoints.recognize import GENERATOR, LORA, TEXT_ENCODER, VAE, Recognized
from pp1_orchestrator.models.wan.config import WanConfig

PARTS = {VAE: "VAE", TEXT_ENCODER: "text encoder"}
COMPARED = ("window", "steps", "first_steps", "shift", "warp", "ema", "context", "cache")
"""What a model's weights expect, beside its sizes."""
GROUPS = ("context", "cache")
LISTED = 5
RUN = ("python", "-m", "pp1_orchestrator")
SIZE_KEYS = SizeSettings.__struct_fields__
PLAIN = re.compile(r"[\w/.+@-]+", re.ASCII)
"""Paths that neither Hydra nor a shell takes apart."""
SPECIAL = set('"$`\\!')
"""What a shell takes apart even inside of double quotes."""


def report(settings: Settings, path: Path, found: Scanned) -> Iterator[str]:
    """The lines of the report. path: what was looked at, for the first line and the command."""
    yield f"{path}: {decimal(sum(stored_bytes(one.path) for one in found.files))} of weights"
    for one in found.files:
        yield f"  {one.path.name}: {describe(one)}"
    yield from (f"  not readable: {line}" for line in found.unreadable)
    generator = found.first(GENERATOR)
    if generator is None:
        yield from _without_generator(found)
    elif generator.sizes is not None:
        yield from _of_generator(settings, path, found, generator)


def _without_generator(found: Scanned) -> Iterator[str]:
    lora = found.first(LORA)
    if lora is not None:
        kin = [family.option for family in read_families() if _tail(lora.path, family.model.hub.lora)]
        of = f", such as that of {' or '.join(kin)}" if kin else ""
        yield f"a LoRA changes a transformer{of}: {_word('model.lora', lora.path)}"


def _of_generator(settings: Settings, path: Path, found: Scanned, generator: Recognized) -> Iterator[str]:
    families = matching(generator, settings.model.name)
    if not families:
        yield f"model: of no known sizes; write a file in conf/model with {sizes_text(generator.sizes)}"
        return
    family, *others = families
    also = ", ".join(other.option for other in others)
    if others and not is_certain(generator, family, settings.model.name):
        again = " ".join([*RUN, "run=check", _word("check.path", path), family.option])
        yield f"model: one of {family.option}, {also}, which have the same names and sizes; the file's name is no one's"
        yield f"to know more, name the one that is meant, such as: {again}"
        return
    yield f"model: {family.option}" + (f"; the same names and sizes also fit {also}" if others else "")
    yield f"licence: {family.model.licence}"
    yield f"missing: {', '.join(_missing(family, found)) or 'nothing'}"
    yield f"expects: {_expected(family)}"
    yield f"{_chosen(settings)} differs in: {', '.join(differences(settings, family)) or 'nothing'}"
    yield f"to run it: {command(family, path, found)}"


def describe(one: Recognized) -> str:
    """What one file holds."""
    parts = [f"{one.kind.replace('_', ' ')}, {one.parameters / 1e6:,.1f} million numbers in {one.tensors} tensors"]
    if one.sizes is not None:
        parts.append(sizes_text(one.sizes))
    if one.layout:
        parts.append(one.layout)
    if one.sections:
        parts.append(f"sections {', '.join(one.sections)}, of which {one.section or 'none'} is read")
    if one.problem:
        parts.append(f"can't be run: {one.problem}")
    parts += [f"{what}: {first_keys(keys)}" for what, keys in wrong_keys(one).items()]
    return "; ".join(parts)


def matching(generator: Recognized, chosen: str) -> list[Family]:
    """Models of a file's sizes: first those whose place on the hub ends like its path, then the chosen one."""
    sizes = by_size(generator.sizes)
    fitting = [family for family in read_families() if msgspec.structs.asdict(family.model.sizes) == sizes]

    def rank(family: Family) -> tuple[int, bool]:
        return -_shared_with_hub(generator, family), family.model.name != chosen

    return sorted(fitting, key=rank)


def is_certain(generator: Recognized, family: Family, chosen: str) -> bool:
    """Whether the file's name or the choice says that it is this model, and not another of the same sizes."""
    return family.model.name == chosen or _shared_with_hub(generator, family) > 0


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
    for key, wanted in family.context.items():
        own = getattr(settings.context, key)
        if own != wanted:
            found.append(f"context.{key}={_shown(own)} ({_shown(wanted)})")
    return found


def command(family: Family, path: Path, found: Scanned) -> str:
    """How to run the files in `path`, from any folder."""
    if (path / GENERATOR).is_dir():
        return " ".join([*RUN, family.option, _word("model.root", path)])
    places = {one.kind: one.path for one in reversed(found.files) if one.kind in (GENERATOR, LORA, *PARTS)}
    words = [*RUN, family.option, *(_word(f"model.{part}", place) for part, place in places.items())]
    words += [] if found.tokenizer is None else [_word("model.tokenizer", found.tokenizer)]
    return " ".join(words)


def _word(key: str, path: Path) -> str:
    """`key=path` as a shell and Hydra read it; relative paths depend on where they are read."""
    whole = str(path.absolute())
    if PLAIN.fullmatch(whole):
        return f"{key}={whole}"
    text = next(as_overrides(key, whole))
    return shlex.quote(text) if SPECIAL & set(text) else f'"{text}"'


def _missing(family: Family, found: Scanned) -> Iterator[str]:
    hub = family.model.hub
    if hub.lora is not None and found.first(LORA) is None:
        yield f"LoRA ({hub.lora})"
    for kind, name in PARTS.items():
        if found.first(kind) is None:
            yield f"{name} ({getattr(hub, kind) or 'shipped'})"
    if found.tokenizer is None:
        yield f"tokenizer ({hub.tokenizer or 'shipped'})"


def wrong_keys(one: Recognized) -> dict[str, Sequence[str]]:
    """Names of tensors that should be there and aren't, or the reverse, by what is wrong with them."""
    wrong = {"missing or of another shape": one.missing, "unexpected": one.unexpected}
    return {what: keys for what, keys in wrong.items() if keys}


def first_keys(keys: Sequence[str]) -> str:
    """Some of them, and how many more there are."""
    more = len(keys) - LISTED
    return ", ".join(keys[:LISTED]) + (f" and {more} more" if more > 0 else "")


def by_size(sizes: WanConfig | msgspec.Struct | None) -> dict[str, int]:
    """Sizes by the keys of `model.sizes`."""
    return {} if sizes is None else {key: getattr(sizes, key) for key in SIZE_KEYS}


def sizes_text(sizes: WanConfig | None) -> str:
    """A transformer's sizes, for people."""
    return "" if sizes is None else f"{sizes.num_layers} blocks, {sizes.dim} wide"


def _chosen(settings: Settings) -> str:
    """What the chosen model is called on the command line."""
    name = settings.model.name
    return next((family.option for family in read_families() if family.model.name == name), f"model={name}")


def _expected(family: Family) -> str:
    model: ModelSettings = family.model
    settings = [f"{key}={_shown(getattr(model, key))}" for key in COMPARED]
    return ", ".join(settings + [f"context.{key}={_shown(value)}" for key, value in family.context.items()])


def _shown(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        inside = ", ".join(f"{key}: {_shown(one)}" for key, one in msgspec.structs.asdict(value).items())
        return f"{{{inside}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, cast(tuple[object, ...], value)))}]"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _shared_with_hub(one: Recognized, family: Family) -> int:
    return max((_tail(one.path, place) for place in family.hub_paths), default=0)


def _tail(path: Path, place: str | None) -> int:
    """How many parts at their ends a path and a place on the hub share."""
    pairs = zip(reversed(path.parts), reversed(Path(place or "").parts), strict=False)
    return next(
        (index for index, (one, two) in enumerate(pairs) if one != two),
        min(len(path.parts), len(Path(place or "").parts)),
    )
