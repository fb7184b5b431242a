"""Finds the parts of a model in a folder, however its files are laid out: ours, diffusers', Wan's own, or one file."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pp1_orchestrator.models.checkpoints.header import open_shapes
from pp1_orchestrator.models.checkpoints.reader import INDEX, PICKLES
from pp1_orchestrator.models.checkpoints.recognize import GENERATOR, LORA, TEXT_ENCODER, VAE, Recognized, recognize
from pp1_orchestrator.models.wan.wan_state_dict import in_our_names, with_lora

FOLDERS = {GENERATOR: GENERATOR, "transformer": GENERATOR, VAE: VAE, TEXT_ENCODER: TEXT_ENCODER, LORA: LORA}
"""Subfolders that have one part each, and that part."""
TOKENIZERS = ("tokenizer", "google/umt5-xxl", ".")
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")


@dataclass(frozen=True, slots=True)
class Scanned:
    """files: what each file of weights is. misplaced: folders that hold another part than their name says.

    unreadable: files that can't be read, a line each. tokenizer: its folder, if there is one.
    """

    files: tuple[Recognized, ...]
    misplaced: tuple[str, ...]
    unreadable: tuple[str, ...]
    tokenizer: Path | None

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
    scanned = Scanned(tuple(files), tuple(misplaced), tuple(unreadable), _tokenizer(path))
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
    indexes = sorted(folder.glob(f"*{INDEX}"))
    if indexes:
        return indexes
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", *PICKLES) and path.is_file())


def _tokenizer(folder: Path) -> Path | None:
    for name in TOKENIZERS:
        with contextlib.suppress(OSError):
            if any((folder / name / file).is_file() for file in TOKENIZER_FILES):
                return folder / name
    return None
