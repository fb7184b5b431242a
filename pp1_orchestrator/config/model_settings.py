"""Settings of a model and of its KV cache. All values come from `conf/`."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from pp1_orchestrator.config.bounds import Positive
from pp1_orchestrator.config.sizes import SizeSettings
from pp1_orchestrator.user_paths import user_path


class WindowSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Latent frames of a chunk, of the attention window, and of the sink, which never leaves the window."""

    chunk: Positive
    frames: Positive
    sink: Annotated[int, Meta(ge=0)]


class HubSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """owner/repository/path of each part on the Hugging Face hub; a folder's path ends in a slash."""

    generator: str | None
    lora: str | None
    vae: str | None
    text_encoder: str | None
    tokenizer: str | None


class ModelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """root: folder of the parts; a part that is not null is elsewhere. steps: nominal denoising steps. context, cache:
    those that the weights were trained for, which the groups of these names may override.
    """

    name: str
    licence: str
    root: str
    generator: str | None
    lora: str | None
    vae: str | None
    text_encoder: str | None
    tokenizer: str | None
    weights: Literal["checkpoint", "random"]
    ema: bool
    lora_alpha: Annotated[float, Meta(gt=0, le=1_000_000)] | None
    verify: bool
    hub: HubSettings
    dtype: Literal["float32", "bfloat16", "float16"]
    sizes: SizeSettings
    window: WindowSettings
    steps: tuple[float, ...]
    first_steps: tuple[float, ...] | None
    shift: Annotated[float, Meta(ge=0.001, le=1000)]
    warp: bool
    height: Positive
    width: Positive
    fps: Positive
    context: str
    cache: str

    @property
    def folder(self) -> Path:
        """The checkpoint's folder."""
        root = user_path(self.root)
        return root if root.is_absolute() else Path(__file__).parents[1] / "models" / root

    def part(self, name: Literal["generator", "vae", "text_encoder", "tokenizer"]) -> Path:
        """One part's file or folder."""
        own: str | None = getattr(self, name)
        return self.folder / name if own is None else user_path(own)


class CacheSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """See conf/cache/."""

    name: str
    decay: Annotated[float, Meta(ge=0, le=1)]
    threshold: Annotated[float, Meta(ge=-1, le=1)]
    bank: Annotated[int, Meta(ge=0, le=64)]
    record_every: Positive
