"""The kinds of decoders that rank 0 can have, by name, and how each comes from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from pp1_orchestrator.models.checkpoints.random_weights import RandomWeights
from pp1_orchestrator.models.checkpoints.reader import open_weights
from pp1_orchestrator.models.vae.base import FrameEncode, StreamingDecoder
from pp1_orchestrator.models.vae.load_vae import check_vae, load_vae, make_decoder, make_frame_encoder
from pp1_orchestrator.models.vae.taehv import TaehvDecoder, TaehvFile, TaehvFrameEncoder, taehv_shapes


@dataclass(frozen=True, slots=True)
class VaeSource:
    """Where weights come from: a file or folder, or random ones. widths: channels by level, if no file tells."""

    where: Path
    widths: tuple[int, ...]
    random: bool
    seed: int


@dataclass(frozen=True, slots=True)
class VaeParts:
    """What of a VAE is kept."""

    decoder: StreamingDecoder
    frame_encoder: FrameEncode | None


class VaeKind(Protocol):
    """One way to get from latents to pixels. Raises OSError when files are missing, ValueError when they are others."""

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        """What can be known of files of weights without reading them."""
        ...

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        """Onto `device`, what is needed of it alone."""
        ...


class WanVaeLoader:
    """Wan's own VAE, and those with its blocks and other widths."""

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        check_vae(source.where, source.widths, with_encoder)

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        vae = load_vae(
            source.where,
            device,
            dtype,
            source.random,
            widths=source.widths,
            with_encoder=with_encoder,
            seed=source.seed,
        )
        return VaeParts(make_decoder(vae), make_frame_encoder(vae) if with_encoder else None)


class TaehvLoader:
    """TAEHV. scaled: made for latents with Wan's mean and deviation put back."""

    def __init__(self, scaled: bool) -> None:
        self._scaled = scaled

    def check(self, source: VaeSource, with_encoder: bool) -> None:
        TaehvFile(open_weights(source.where), taehv_shapes(source.widths, with_encoder))

    def load(self, source: VaeSource, device: torch.device, dtype: torch.dtype, with_encoder: bool) -> VaeParts:
        shapes = taehv_shapes(source.widths, with_encoder)
        weights = RandomWeights(shapes, source.seed) if source.random else open_weights(source.where)
        file = TaehvFile(weights, shapes, device, dtype)
        encoder = TaehvFrameEncoder(file, self._scaled).eval() if with_encoder else None
        return VaeParts(TaehvDecoder(file, self._scaled).eval(), encoder)


VAES: Mapping[str, VaeKind] = {
    "wan_vae": WanVaeLoader(),
    "lightvae": WanVaeLoader(),
    "taehv": TaehvLoader(scaled=False),
    "lighttae": TaehvLoader(scaled=True),
}
