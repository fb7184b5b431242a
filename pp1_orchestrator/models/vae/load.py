"""Loads an AutoencoderKLWan from either layout, picks its decoder, and makes the frame encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from pp1_orchestrator.models.checkpoints.compare import check_shapes
from pp1_orchestrator.models.checkpoints.config_json import config_folder
from pp1_orchestrator.models.checkpoints.files import Weights, open_weights
from pp1_orchestrator.models.checkpoints.made_up import RandomWeights
from pp1_orchestrator.models.checkpoints.placing import place, shapes_of
from pp1_orchestrator.models.checkpoints.vae_layouts import names_for
from pp1_orchestrator.models.vae.base import FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.encode import FrameEncoder
from pp1_orchestrator.models.vae.reference import ReferenceDecoder
from pp1_orchestrator.models.vae.stacked import StackedDecoder

_ENCODER = ("encoder.", "quant_conv.")


def load_vae(
    where: Path,
    device: torch.device,
    dtype: torch.dtype,
    random: bool = False,
    *,
    widths: Sequence[int] = (),
    with_encoder: bool = True,
    seed: int = 0,
) -> AutoencoderKLWan:
    """The VAE of a file or folder, or the same shapes with random weights; with its encoder or without.

    Sizes are those of diffusers' config.json beside the weights; where there is none, Wan2.1's with these widths.
    Raises OSError when files are missing, and ValueError when they hold something else.
    """
    vae = _on_meta(where, widths, with_encoder)
    weights = RandomWeights(shapes_of(vae), seed) if random else open_weights(where)
    place(vae, weights, _checked(vae, weights, with_encoder), device, dtype)
    return vae.eval()


def check_vae(where: Path, widths: Sequence[int], with_encoder: bool) -> None:
    """Raise what `load_vae` would, without reading a weight."""
    _checked(_on_meta(where, widths, with_encoder), open_weights(where), with_encoder)


def make_decoder(vae: AutoencoderKLWan) -> StreamingDecoder:
    """The stacked decoder for Wan2.1's blocks, diffusers' own for others."""
    config: Any = vae.config
    return ReferenceDecoder(vae) if config.is_residual else StackedDecoder(vae).eval()


def make_frame_encoder(vae: AutoencoderKLWan) -> FrameEncode:
    """The encoder of single pictures, the same on every device. Raises ValueError for blocks that it does not know."""
    return FrameEncoder(vae).eval()


def _on_meta(where: Path, widths: Sequence[int], with_encoder: bool) -> AutoencoderKLWan:
    kind: Any = AutoencoderKLWan
    with torch.device("meta"):
        vae = kind.from_config(_config(where, widths))
    if not with_encoder:
        vae.encoder = vae.quant_conv = None
    return vae


def _checked(vae: AutoencoderKLWan, weights: Weights, with_encoder: bool) -> Mapping[str, str]:
    """Our names of what is needed -> the file's. Raises ValueError when it is another model's."""
    names, shapes = names_for(weights.shapes()), weights.shapes()
    kept = {own: stored for own, stored in names.items() if with_encoder or not own.startswith(_ENCODER)}
    check_shapes(weights.path, "VAE", shapes_of(vae), {own: shapes[stored] for own, stored in kept.items()})
    return kept


def _config(where: Path, widths: Sequence[int]) -> dict[str, Any]:
    kind: Any = AutoencoderKLWan
    folder = config_folder(where)
    if folder is not None:
        return kind.load_config(str(folder))
    if any(width % widths[0] for width in widths):
        raise ValueError(f"widths {list(widths)}: whole multiples of the first")
    return {"base_dim": widths[0], "dim_mult": [width // widths[0] for width in widths]} if widths else {}
