"""What planning has to know about the strategies: a few traits of each, by name.

The registry takes them from the strategies' classes, which planning never imports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.vae.load_vae import VaeLoader


@dataclass(frozen=True, slots=True)
class OverlapTraits:
    """Whether a chunk is decoded while the mesh makes the next one, and whether that also holds in one process."""

    hides_decode: bool
    threaded: bool


@dataclass(frozen=True, slots=True)
class RoutingTraits:
    """Which rank encodes, and what an envelope carries of a prompt: the first time, and every later time."""

    home: Literal["rank0", "leader"]
    first_sends: Literal["text", "embeds"]
    known_sends: Literal["text", "embeds"]

    @property
    def returns_embeds(self) -> bool:
        """Whether the result brings back a new prompt's embedding."""
        return self.first_sends == "text" and self.known_sends == "embeds"

    @property
    def stalls(self) -> str:
        """When the mesh waits for the text encoder, in words."""
        if self.home == "rank0":
            return "never"
        return "new prompts" if self.known_sends == "embeds" else "each prompt"


@dataclass(frozen=True, slots=True)
class ContextTraits:
    """Whether a clean pass follows each chunk, whether the cache is rebuilt before a chunk, and whether from pixels."""

    clean_pass: bool
    rebuilds: bool
    needs_pixels: bool


@dataclass(frozen=True, slots=True)
class Strategies:
    """What can be chosen, by name. Of equally fast overlaps, a plan recommends the first."""

    overlaps: Mapping[str, OverlapTraits]
    routings: Mapping[str, RoutingTraits]
    contexts: Mapping[str, ContextTraits]
    decoders: Mapping[str, VaeLoader]

    def overlap(self, settings: Settings) -> OverlapTraits:
        return self.overlaps[settings.overlap.name]

    def routing(self, settings: Settings) -> RoutingTraits:
        return self.routings[settings.routing.name]

    def context(self, settings: Settings) -> ContextTraits:
        return self.contexts[settings.context.name]

    def decoder(self, settings: Settings) -> VaeLoader:
        return self.decoders[settings.stage0.name]
