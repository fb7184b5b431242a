"""The decoders that rank 0 can use, by name, and how each is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import open_weights
from pp1_orchestrator.models.vae.base import FrameEncoder, StreamingDecoder
from pp1_orchestrator.models.vae.load_vae import check_vae, load_vae, make_decoder
from pp1_orchestrator.models.vae.taehv import TaehvDecoder, TaehvFrameEncoder, TaehvWeights, taehv_shapes
from pp1_orchestrator.models.vae.wan_encoder import WanFrameEncoder


@dataclass(frozen=True, slots=True)
class VaeSource:
    """Where a VAE comes from.

    Args:
        path: a file or folder.
        widths: channels of each level, if no config.json beside the weights has them.
        random: whether weights are drawn from `seed` instead of read.
    """

    path: Path
    widths: tuple[int, ...]
    random: bool
    seed: int


@dataclass(frozen=True, slots=True)
class VaeParts:
    """The parts of a VAE that are used."""

    decoder: StreamingDecoder
    frame_encoder: FrameEncoder | None


class VaeLoader(Protocol):
    """Loads one kind of VAE. Raises OSError for missing files and ValueError for another model's files."""

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        """Checks the files without reading a tensor."""
        ...

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        """Loads the needed parts onto `device`."""
        ...


class WanVaeLoader:
    """Wan's own VAE, and others with its blocks and other widths."""

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        check_vae(source.path, source.widths, with_encoder)

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        vae = load_vae(
            source.path,
            device,
            dtype,
            source.random,
            widths=source.widths,
            with_encoder=with_encoder,
            seed=source.seed,
        )
        return VaeParts(make_decoder(vae), WanFrameEncoder(vae).eval() if with_encoder else None)


class TaehvLoader:
    """TAEHV. raw_latents: it was trained on latents with Wan's mean and deviation, not on normalised ones."""

    def __init__(self, raw_latents: bool) -> None:
        self._raw_latents = raw_latents

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        TaehvWeights(open_weights(source.path), taehv_shapes(source.widths, with_encoder))

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        shapes = taehv_shapes(source.widths, with_encoder)
        stored = RandomWeights(shapes, source.seed) if source.random else open_weights(source.path)
        weights = TaehvWeights(stored, shapes, device, dtype)
        encoder = TaehvFrameEncoder(weights, self._raw_latents).eval() if with_encoder else None
        return VaeParts(TaehvDecoder(weights, self._raw_latents).eval(), encoder)


VAES: Mapping[str, VaeLoader] = {
    "wan_vae": WanVaeLoader(),
    "lightvae": WanVaeLoader(),
    "taehv": TaehvLoader(raw_latents=False),
    "lighttae": TaehvLoader(raw_latents=True),
}
