"""Loads the VAEs that rank 0 can use, by name, and compiles their decoders and encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch

from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import (
    Shape,
    Weights,
    check_shapes,
    config_folder,
    open_weights,
    set_weight,
    shapes_of,
)
from pp1_orchestrator.models.vae.base import DecodeState, EncodeState, FrameEncoder, StreamingDecoder, StreamingEncoder
from pp1_orchestrator.models.vae.taehv import TaehvDecoder, TaehvWeights, taehv_shapes
from pp1_orchestrator.models.vae.taehv_encoder import TaehvEncoder, TaehvFrameEncoder
from pp1_orchestrator.models.vae.wan_decoder import WanDecoder
from pp1_orchestrator.models.vae.wan_encoder import WanEncoder, WanFrameEncoder

if TYPE_CHECKING:  # takes seconds to import; a plan whose counts are kept does without
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

_PARTS = ("encoder.", "quant_conv.", "decoder.", "post_quant_conv.")


@dataclass(frozen=True, slots=True)
class VaeSource:
    """Where a VAE comes from: a file or folder, or random weights if there is a seed.

    widths: channels of each level, for weights without a config.json beside them.
    """

    path: Path
    widths: tuple[int, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class VaeParts:
    """The parts of a VAE that are used."""

    decoder: StreamingDecoder
    frame_encoder: FrameEncoder | None


class VaeLoader(ABC):
    """Loads one kind of VAE. Raises OSError for missing files and ValueError for another model's files."""

    @abstractmethod
    def check(self, source: VaeSource, with_encoder: bool) -> None:
        """Checks the files without reading a tensor."""

    @abstractmethod
    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        """Loads the needed parts onto `device`."""

    def load_encoder(self, source: VaeSource, device: torch.device, dtype: torch.dtype) -> StreamingEncoder:
        """Loads the encoder of streams alone onto `device`. Raises ValueError where there is none."""
        raise ValueError("this VAE has no encoder of streams")


def load_vae(
    source: VaeSource,
    device: torch.device,
    dtype: torch.dtype,
    with_encoder: bool = True,
    with_decoder: bool = True,
) -> AutoencoderKLWan:
    """Loads a VAE, tensor by tensor. Raises OSError for missing files and ValueError for another model's files."""
    vae = _on_meta(source, with_encoder, with_decoder)
    weights = open_weights(source.path) if source.seed is None else RandomWeights(shapes_of(vae), source.seed)
    for name, stored in _check_names(vae, weights).items():
        set_weight(vae, name, weights.read(stored, device, dtype))
    return vae.eval()


def make_decoder(vae: AutoencoderKLWan) -> StreamingDecoder:
    """Our own decoder for Wan2.1's blocks, diffusers' for others."""
    config: Any = vae.config
    if not config.is_residual:
        return WanDecoder(vae).eval()
    from pp1_orchestrator.models.vae.diffusers_decoder import DiffusersDecoder

    return DiffusersDecoder(vae)


def compile_decoder(
    decoder: StreamingDecoder, frames: int, size: tuple[int, int], in_parts: bool, backend: str = "inductor"
) -> None:
    """Compiles a decoder, if it can be, and runs it on all shapes of a stream, so that no chunk waits for the compiler.

    Does not work in float32 on a CPU: the oneDNN convolutions there can't be traced. frames, size: latent frames of a
    chunk, and their height and width. in_parts: a chunk's first latent frame is decoded apart from the others.
    """
    if not isinstance(decoder, WanDecoder | TaehvDecoder):
        return
    decoder.compile(dynamic=False, backend=backend)  # pyright: ignore[reportUnknownMemberType]
    state = DecodeState()
    latents = decoder.mean.new_zeros((frames, decoder.mean.shape[1], *size))
    for _ in range(2):
        decoder.decode(latents, state)
    if in_parts:
        for part in (latents[:1], latents[1:]):
            decoder.decode(part, state)


def compile_encoder(encoder: StreamingEncoder, frames: int, size: tuple[int, int], backend: str = "inductor") -> None:
    """Compiles an encoder, if it can be, and runs it on all shapes of a stream, as `compile_decoder` does.

    frames: latent frames of a chunk. size: height and width of pixel frames.
    """
    if not isinstance(encoder, WanEncoder | TaehvEncoder):
        return
    encoder.compile(dynamic=False, backend=backend)  # pyright: ignore[reportUnknownMemberType]
    state = EncodeState()
    pixels = encoder.mean.new_zeros((encoder.per_latent * frames, 3, *size))
    encoder.encode(pixels[encoder.per_latent - 1 :], state)
    for _ in range(2):  # the first of these remembers less than the others
        encoder.encode(pixels, state)


def _autoencoder() -> Any:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    return AutoencoderKLWan


def _on_meta(source: VaeSource, with_encoder: bool, with_decoder: bool = True) -> AutoencoderKLWan:
    kind = _autoencoder()
    with torch.device("meta"):
        vae = kind.from_config(_config(source))
    if not with_encoder:
        vae.encoder = vae.quant_conv = None
    if not with_decoder:
        vae.decoder = vae.post_quant_conv = None
    return vae


def _check_names(vae: AutoencoderKLWan, weights: Weights) -> Mapping[str, str]:
    """diffusers' names of the needed tensors -> the file's. Raises ValueError for another model's weights."""
    shapes = weights.shapes()
    names = {key: key for key in shapes}
    if "decoder.conv1.weight" in names:  # Wan's own layout. The converter passes values through, here the names.
        from diffusers.loaders.single_file_utils import (
            convert_wan_vae_to_diffusers,  # pyright: ignore[reportUnknownVariableType]
        )

        names = cast(dict[str, str], convert_wan_vae_to_diffusers(names))
    needed = shapes_of(vae)
    unused = tuple(part for part in _PARTS if not any(own.startswith(part) for own in needed))
    names = {own: stored for own, stored in names.items() if not own.startswith(unused)}
    check_shapes(weights.path, "VAE", needed, {own: shapes[stored] for own, stored in names.items()})
    return names


def _config(source: VaeSource) -> dict[str, Any]:
    folder, widths = config_folder(source.path), source.widths
    if folder is not None:
        return _autoencoder().load_config(str(folder))
    if any(width % widths[0] for width in widths):
        raise ValueError(f"widths {list(widths)}: whole multiples of the first")
    return {"base_dim": widths[0], "dim_mult": [width // widths[0] for width in widths]} if widths else {}


class WanVaeLoader(VaeLoader):
    """Wan's own VAE, and others with its blocks and other widths."""

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        vae = _on_meta(source, with_encoder)
        _check_names(vae, open_weights(source.path))

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        vae = load_vae(source, device, dtype, with_encoder)
        return VaeParts(make_decoder(vae), WanFrameEncoder(vae).eval() if with_encoder else None)

    def load_encoder(self, source: VaeSource, device: torch.device, dtype: torch.dtype) -> StreamingEncoder:
        return WanEncoder(load_vae(source, device, dtype, with_decoder=False)).eval()


class TaehvLoader(VaeLoader):
    """TAEHV. raw_latents: it was trained on latents with Wan's mean and deviation, not on normalised ones."""

    raw_latents: ClassVar[bool] = False

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        TaehvWeights(open_weights(source.path), taehv_shapes(source.widths, with_encoder))

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        weights = self._weights(source, taehv_shapes(source.widths, with_encoder), device, dtype)
        encoder = TaehvFrameEncoder(TaehvEncoder(weights, self.raw_latents).eval()) if with_encoder else None
        return VaeParts(TaehvDecoder(weights, self.raw_latents).eval(), encoder)

    def load_encoder(self, source: VaeSource, device: torch.device, dtype: torch.dtype) -> StreamingEncoder:
        weights = self._weights(source, taehv_shapes(source.widths, with_encoder=True), device, dtype)
        return TaehvEncoder(weights, self.raw_latents).eval()

    def _weights(
        self, source: VaeSource, shapes: Mapping[str, Shape], device: torch.device, dtype: torch.dtype
    ) -> TaehvWeights:
        stored = open_weights(source.path) if source.seed is None else RandomWeights(shapes, source.seed)
        return TaehvWeights(stored, shapes, device, dtype)


class LightTaeLoader(TaehvLoader):
    """TAEHV of LightX2V."""

    raw_latents: ClassVar[bool] = True


VAES: Mapping[str, type[VaeLoader]] = {
    "wan_vae": WanVaeLoader,
    "lightvae": WanVaeLoader,
    "taehv": TaehvLoader,
    "lighttae": LightTaeLoader,
}
