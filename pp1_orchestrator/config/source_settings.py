"""What comes in beside the text: its settings, and the rules that need nothing but settings. Opens no file."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.types import MAX_PROMPT_CHARS

NO_SOURCE, NO_MODE, WITH_HISTORY = "none", "none", ("image_start", "history")


class SourceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """See conf/source/."""

    name: Literal["none", "image", "file"]
    path: str | None
    mode: Literal["none", "noise", "motion_noise", "history", "image_start"]
    strength: Annotated[float, Meta(ge=0, le=1)]
    caption: Annotated[str, Meta(max_length=MAX_PROMPT_CHARS)] | None
    fit: Literal["crop", "fit"]
    end: Literal["loop", "hold"]

    @property
    def active(self) -> bool:
        """Whether anything comes in."""
        return self.name != NO_SOURCE


def check_source(source: SourceSettings, config: WanConfig) -> None:
    """Raise ConfigError for an input that can't be, or that the generator's window has no room for."""
    if not source.active:
        for key, value in (("path", source.path), ("mode", source.mode)):
            if value not in (None, NO_MODE):
                raise ConfigError(f"source.{key}={value}: source=none has no input; possible with source=image or file")
        return
    if source.path is None:
        raise ConfigError(f"source.path=null: source={source.name} needs a file, such as source.path=input.mp4")
    if source.mode == NO_MODE:
        raise ConfigError(
            f"source.mode=none: source={source.name} needs a mode; possible: noise, motion_noise, history, image_start"
        )
    if source.mode in WITH_HISTORY and config.local_attn_size < 2 * config.chunk_frames:
        raise ConfigError(
            f"source.mode={source.mode}: needs a window of 2 chunks ({2 * config.chunk_frames} latent frames); "
            f"the model's has {config.local_attn_size}"
        )
