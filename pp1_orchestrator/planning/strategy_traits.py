"""What planning has to know about the strategies: a few traits of each, by name.

The strategies' classes have them, which planning never imports; the registry hands them over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.vae.load_vae import VaeLoader


class OverlapTraits(Protocol):
    """Whether a chunk is decoded while the mesh makes the next one, and whether that also holds in one process."""

    hides_decode: bool
    threaded: bool


class RoutingTraits(Protocol):
    """Which rank encodes, and what an envelope carries of a prompt: the first time, and every later time."""

    home: Literal["rank0", "leader"]
    first_sends: Literal["text", "embeds"]
    known_sends: Literal["text", "embeds"]


class ContextTraits(Protocol):
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
