"""Where the decoder's weights come from, of settings. Opens nothing."""

from __future__ import annotations

from pathlib import Path

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.vae.kinds import VaeSource


def vae_source(settings: Settings) -> VaeSource:
    """Of the decoder that was chosen."""
    model, stage0 = settings.model, settings.stage0
    where = model.part("vae") if stage0.file is None else model.folder / Path(stage0.file).expanduser()
    return VaeSource(where, stage0.widths, model.weights == "random", settings.seed)
