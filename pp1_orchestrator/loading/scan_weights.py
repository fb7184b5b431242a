"""Finds the parts of a model in a folder, however its files are laid out: ours, diffusers', Wan's own, or one file."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pp1_orchestrator.models.checkpoints.header import open_shapes
from pp1_orchestrator.models.checkpoints.reader import INDEX, PICKLES, read_index
from pp1_orchestrator.models.checkpoints.recognize import GENERATOR, LORA, TEXT_ENCODER, VAE, Recognized, recognize
from pp1_orchestrator.models.wan.wan_state_dict import in_our_names, with_lora

FOLDERS = {GENERATOR: GENERATOR, "transformer": GENERATOR, VAE: VAE, TEXT_ENCODER: TEXT_ENCODER, LORA: LORA}
"""Subfolders that have one part each, and that part."""
TOKENIZERS = ("tokenizer", "google/umt5-xxl", ".")
SUFFIXES = (".safetensors", *PICKLES)
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")


@dataclass(frozen=True, slots=True)
class Scanned:
    """files: what each file of weights is. misplaced: folders that hold another part than their name says.

    unreadable: files that can't be read, a line each. tokenizer: its folder, if there is one. below: files in folders
    of other names, which were not looked at.
    """

    files: tuple[Recognized, ...]
    misplaced: tuple[str, ...]
    unreadable: tuple[str, ...]
    tokenizer: Path | None
    below: tuple[str, ...] = ()

    def first(self, kind: str) -> Recognized | None:
        """The first file of a kind."""
        return next((found for found in self.files if found.kind == kind), None)


def scan(path: Path, ema: bool) -> Scanned:
    """What is in a file or a folder. ema: as `recognize`. Raises FileNotFoundError for a path that does not exist."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.is_file():
        return Scanned((recognize(path, ema),), (), (), None)
    files: list[Recognized] = []
    misplaced: list[str] = []
    unreadable: list[str] = []
    for place, wanted in _part_files(path):
        try:
            found = recognize(place, ema)
        except (OSError, ValueError, RuntimeError) as error:
            unreadable.append(str(error))
            continue
        files.append(found)
        if wanted is not None and found.kind != wanted:
            misplaced.append(f"{place} holds a {found.kind}, not a {wanted}")
    below = () if files or unreadable else tuple(_below(path))
    return _with_lora_problem(Scanned(tuple(files), tuple(misplaced), tuple(unreadable), _tokenizer(path), below), ema)


def stored_bytes(path: Path) -> int:
    """Of a file, or of all shards of an index."""
    if not path.name.endswith(INDEX):
        return path.stat().st_size
    return sum((path.parent / shard).stat().st_size for shard in set(read_index(path).values()))


def joined(found: Sequence[Scanned], ema: bool) -> Scanned:
    """What several places hold together; of each kind, only the files of the first place that has one."""
    files: list[Recognized] = []
    for one in found:
        there = {other.kind for other in files}
        files += [file for file in one.files if file.kind not in there]
    whole = Scanned(
        tuple(files),
        tuple(line for one in found for line in one.misplaced),
        tuple(line for one in found for line in one.unreadable),
        next((one.tokenizer for one in found if one.tokenizer is not None), None),
        tuple(name for one in found for name in one.below),
    )
    return whole if len(found) == 1 else _with_lora_problem(whole, ema)


def _with_lora_problem(scanned: Scanned, ema: bool) -> Scanned:
    wrong = lora_problem(scanned.first(GENERATOR), scanned.first(LORA), ema)
    return scanned if wrong is None else replace(scanned, misplaced=(*scanned.misplaced, wrong))


def lora_problem(generator: Recognized | None, lora: Recognized | None, ema: bool) -> str | None:
    """Why a LoRA does not fit a transformer, in one line; None if it does, or if there are not both."""
    if generator is None or generator.sizes is None or lora is None:
        return None
    try:
        with_lora(in_our_names(open_shapes(generator.path), ema), open_shapes(lora.path), None)
    except ValueError as error:
        return str(error)
    return None


def _part_files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Files of weights in the folder, a set of shards once; then its subfolders', with the part wanted there."""
    yield from ((file, None) for file in _weight_files(folder))
    for name, kind in FOLDERS.items():
        if (folder / name).is_dir():
            yield from ((file, kind) for file in _weight_files(folder / name))


def _weight_files(folder: Path) -> list[Path]:
    """Indexes of shards, and the files that are no shards. Beside a damaged index nobody knows which those are."""
    indexes = sorted(folder.glob(f"*{INDEX}"))
    shards: set[str] = set()
    for index in indexes:
        try:
            shards |= set(read_index(index).values())
        except (OSError, ValueError):
            return indexes
    files = (path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    return [*indexes, *sorted(path for path in files if path.name not in shards)]


def _below(folder: Path) -> Iterator[str]:
    """Files of weights one or two folders further down, by their paths from `folder`."""
    for depth in ("*/*", "*/*/*"):
        found = (path for path in folder.glob(depth) if path.suffix in SUFFIXES)
        yield from sorted(str(path.relative_to(folder)) for path in found)


def _tokenizer(folder: Path) -> Path | None:
    for name in TOKENIZERS:
        with contextlib.suppress(OSError):
            if any((folder / name / file).is_file() for file in TOKENIZER_FILES):
                return folder / name
    return None
