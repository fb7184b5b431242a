"""Tells what a file of weights is, from the names and shapes of its tensors alone: no tensor is read."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pp1_orchestrator.models.checkpoints.conversion import infer_config
from pp1_orchestrator.models.checkpoints.header import open_shapes
from pp1_orchestrator.models.checkpoints.reader import SECTION, Shape
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.load_generator import whole_shapes
from pp1_orchestrator.models.wan.wan_state_dict import LORA_SECTION, in_our_names, layout_of, section_of, unwrapped

GENERATOR, LORA, VAE, TAEHV, TEXT_ENCODER, UNKNOWN = "generator", "lora", "vae", "taehv", "text_encoder", "unknown"
LORA_PREFIX = f"{LORA_SECTION}{SECTION}"
MARKS = (
    (LORA, re.compile(r".+\.lora_[AB](\.default)?\.weight")),
    (GENERATOR, re.compile(r"patch_embedding\.(weight|0\.weight)")),
    (TEXT_ENCODER, re.compile(r"token_embedding\.weight|shared\.weight|encoder\.embed_tokens\.weight")),
    (VAE, re.compile(r"decoder\.(conv1|conv_in)\.weight")),
    (TAEHV, re.compile(r"decoder\.1\.weight")),
)
"""The first kind of which a file has a tensor with such a name is the file's."""
OTHERS = (
    (re.compile(r"img_emb|\.k_img\.|condition_embedder\.image_embedder"), "it takes an image, which none here does"),
    (re.compile(r"vace_"), "it has VACE's control blocks, which none here has"),
)
"""Transformers of this family that can't be run, and why."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """What a file holds. sections: tensors of each section of a pickle. section: the one that is read, empty if none.

    layout: whose names the tensors have. sizes: of a transformer. problem: why it can't be run, in one line.
    """

    path: Path
    kind: str
    tensors: int
    parameters: int
    sections: Mapping[str, int]
    section: str = ""
    layout: str = ""
    sizes: WanConfig | None = None
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    problem: str | None = None


def recognize(path: Path, ema: bool) -> Recognized:
    """What a file, an index of shards, or a folder with one of them holds. ema: as `in_our_names`.

    Raises FileNotFoundError, and ValueError for a file that is no file of weights.
    """
    weights = open_shapes(path)
    shapes = weights.shapes()
    sections = Counter(key.partition(SECTION)[0] for key in shapes if SECTION in key)
    section = section_of(shapes, ema) or (LORA_PREFIX if any(key.startswith(LORA_PREFIX) for key in shapes) else "")
    read = {key.removeprefix(section): shape for key, shape in shapes.items() if key.startswith(section)}
    kind = _kind(read)
    parameters = sum(math.prod(shape) for shape in read.values())
    common = weights.path, kind, len(read), parameters, dict(sections), section.removesuffix(SECTION)
    if kind != GENERATOR:
        return Recognized(*common)
    layout, own = layout_of(read), in_our_names(weights, ema).shapes()
    for mark, why in OTHERS:
        if any(mark.search(key) for key in read):
            return Recognized(*common, layout, problem=why)
    try:
        sizes = infer_config(weights.path, own)
    except ValueError as error:
        return Recognized(*common, layout, problem=str(error))
    return Recognized(*common, layout, sizes, *_differences(sizes, own))


def _kind(shapes: Mapping[str, Shape]) -> str:
    names = {unwrapped(key) for key in shapes}
    for kind, mark in MARKS:
        if any(mark.fullmatch(name) for name in names):
            return kind
    return UNKNOWN


def _differences(sizes: WanConfig, own: Mapping[str, Shape]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of tensors that are missing or of another shape, and of those that don't belong to the transformer."""
    expected = whole_shapes(sizes)
    missing = tuple(key for key, shape in expected.items() if own.get(key) != shape)
    return missing, tuple(key for key in own if key not in expected)
