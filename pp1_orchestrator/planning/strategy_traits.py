"""What a plan must know of the strategies that a run may choose: facts about each, by name.

The registry takes them from the strategies' classes. Planning never imports those: they need what a run needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pp1_orchestrator.config.schema import Settings


@dataclass(frozen=True, slots=True)
class OverlapTraits:
    """hides_decode: a chunk is decoded while the mesh makes the next one. threaded: also where both are one process."""

    hides_decode: bool
    threaded: bool


@dataclass(frozen=True, slots=True)
class RoutingTraits:
    """home: the rank that encodes. first_sends, known_sends: what an envelope carries of a prompt, the first time and
    every later time."""

    home: Literal["rank0", "leader"]
    first_sends: Literal["text", "embeds"]
    known_sends: Literal["text", "embeds"]

    @property
    def returns_embeds(self) -> bool:
        """Whether the result brings a new prompt's embedding back."""
        return self.first_sends == "text" and self.known_sends == "embeds"

    @property
    def stalls(self) -> str:
        """When the mesh waits for an encoder, in words."""
        if self.home == "rank0":
            return "never"
        return "new prompts" if self.known_sends == "embeds" else "each prompt"


@dataclass(frozen=True, slots=True)
class ContextTraits:
    """clean_pass: a pass follows each chunk. rebuilds: the cache is rebuilt before chunks. needs_pixels: from a frame
    that rank 0 encodes."""

    clean_pass: bool
    rebuilds: bool
    needs_pixels: bool


@dataclass(frozen=True, slots=True)
class Strategies:
    """All that are built in, by name; overlaps in the order in which they are recommended where they are as fast."""

    overlaps: Mapping[str, OverlapTraits]
    routings: Mapping[str, RoutingTraits]
    contexts: Mapping[str, ContextTraits]

    def overlap(self, settings: Settings) -> OverlapTraits:
        """The run's."""
        return self.overlaps[settings.overlap.name]

    def routing(self, settings: Settings) -> RoutingTraits:
        """The run's."""
        return self.routings[settings.routing.name]

    def context(self, settings: Settings) -> ContextTraits:
        """The run's."""
        return self.contexts[settings.context.name]
