"""Compiles a decoder, and runs it in every way a stream will, so that no chunk waits for the compiler.

Loads an AutoencoderKLWan from either layout, picks its decoder, and makes the frame encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import (
    Weights,
    check_shapes,
    config_folder,
    open_weights,
    place,
    shapes_of,
)
from pp1_orchestrator.models.vae.base import DecodeState, FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.diffusers_decoder import ReferenceDecoder
from pp1_orchestrator.models.vae.taehv import TaehvDecoder
from pp1_orchestrator.models.vae.vae_state_dict import names_for
from pp1_orchestrator.models.vae.wan_decoder import StackedDecoder
from pp1_orchestrator.models.vae.wan_encoder import FrameEncoder


def compile_decoder(
    decoder: StreamingDecoder, frames: int, size: tuple[int, int], in_parts: bool, backend: str = "inductor"
) -> None:
    """Compile a decoder that can be, and run it once in every way a stream of chunks will.

    frames: latent frames a chunk; size: their height and width; in_parts: whether a chunk is decoded in two goes.
    backend: torch.compile's. Not for float32 on a CPU: oneDNN's kernels, called by name, can't be traced.
    """
    if not isinstance(decoder, StackedDecoder | TaehvDecoder):
        return
    decoder.compile(dynamic=False, backend=backend)
    state = DecodeState()
    latents = decoder.mean.new_zeros((frames, decoder.mean.shape[1], *size))
    for _ in range(2):
        decoder.decode(latents, state)
    if in_parts:
        for part in (latents[:1], latents[1:]):
            decoder.decode(part, state)


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
