"""Loads an AutoencoderKLWan from either layout, picks its decoder, and compiles decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers

from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import (
    Weights,
    check_shapes,
    config_folder,
    open_weights,
    set_weight,
    shapes_of,
)
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.models.vae.diffusers_decoder import DiffusersDecoder
from pp1_orchestrator.models.vae.taehv import TaehvDecoder
from pp1_orchestrator.models.vae.wan_decoder import WanDecoder

_ENCODER = ("encoder.", "quant_conv.")


def load_vae(
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
    random: bool = False,
    *,
    widths: Sequence[int] = (),
    with_encoder: bool = True,
    seed: int = 0,
) -> AutoencoderKLWan:
    """The VAE in a file or folder, tensor by tensor, or the same model with random weights.

    Args:
        widths: channels of each level of a Wan2.1 VAE, for weights without diffusers' config.json.

    Raises OSError for missing files and ValueError for another model's files.
    """
    vae = _on_meta(path, widths, with_encoder)
    weights = RandomWeights(shapes_of(vae), seed) if random else open_weights(path)
    for name, stored in _check_names(vae, weights, with_encoder).items():
        set_weight(vae, name, weights.read(stored, device, dtype))
    return vae.eval()


def check_vae(path: Path, widths: Sequence[int], with_encoder: bool) -> None:
    """Raises what `load_vae` would raise, without reading a tensor."""
    _check_names(_on_meta(path, widths, with_encoder), open_weights(path), with_encoder)


def make_decoder(vae: AutoencoderKLWan) -> StreamingDecoder:
    """Our own decoder for Wan2.1's blocks, diffusers' for others."""
    config: Any = vae.config
    return DiffusersDecoder(vae) if config.is_residual else WanDecoder(vae).eval()


def compile_decoder(
    decoder: StreamingDecoder, frames: int, size: tuple[int, int], in_parts: bool, backend: str = "inductor"
) -> None:
    """Compiles a decoder, if it can be, and runs it on all shapes of a stream, so that no chunk waits for the compiler.

    Does not work in float32 on a CPU: the oneDNN convolutions there can't be traced.

    Args:
        frames: latent frames of a chunk.
        size: height and width of a latent frame.
        in_parts: whether the first latent frame of a chunk is decoded apart from the others.
        backend: the backend of torch.compile.
    """
    if not isinstance(decoder, WanDecoder | TaehvDecoder):
        return
    decoder.compile(dynamic=False, backend=backend)
    state = DecodeState()
    latents = decoder.mean.new_zeros((frames, decoder.mean.shape[1], *size))
    for _ in range(2):
        decoder.decode(latents, state)
    if in_parts:
        for part in (latents[:1], latents[1:]):
            decoder.decode(part, state)


def _on_meta(path: Path, widths: Sequence[int], with_encoder: bool) -> AutoencoderKLWan:
    kind: Any = AutoencoderKLWan
    with torch.device("meta"):
        vae = kind.from_config(_config(path, widths))
    if not with_encoder:
        vae.encoder = vae.quant_conv = None
    return vae


def _check_names(vae: AutoencoderKLWan, weights: Weights, with_encoder: bool) -> Mapping[str, str]:
    """diffusers' names of the needed tensors -> the file's. Raises ValueError for another model's weights."""
    shapes = weights.shapes()
    names = {key: key for key in shapes}
    if "decoder.conv1.weight" in names:  # Wan's own layout. The converter passes values through, here the names.
        names = convert_wan_vae_to_diffusers(names)
    names = {own: stored for own, stored in names.items() if with_encoder or not own.startswith(_ENCODER)}
    check_shapes(weights.path, "VAE", shapes_of(vae), {own: shapes[stored] for own, stored in names.items()})
    return names


def _config(path: Path, widths: Sequence[int]) -> dict[str, Any]:
    kind: Any = AutoencoderKLWan
    folder = config_folder(path)
    if folder is not None:
        return kind.load_config(str(folder))
    if any(width % widths[0] for width in widths):
        raise ValueError(f"widths {list(widths)}: whole multiples of the first")
    return {"base_dim": widths[0], "dim_mult": [width // widths[0] for width in widths]} if widths else {}
