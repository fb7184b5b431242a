"""Which windows each cache policy can be applied to. Needs no torch: settings are checked with it."""

from collections.abc import Callable, Mapping

from pp1_orchestrator.models.wan.config import WanConfig

Rule = Callable[[WanConfig, int], str | None]
"""Of a window, and of the frames of a bank: why the policy can't be applied, in a few words; None if it can."""


def _any(config: WanConfig, bank: int) -> str | None:
    return None


def _sink_of_a_chunk(config: WanConfig, bank: int) -> str | None:
    if config.sink_frames == config.chunk_frames:
        return None
    return f"averages whole chunks, so model.window.sink must be {config.chunk_frames}"


def _sink(config: WanConfig, bank: int) -> str | None:
    return None if config.sink_frames else f"needs a sink, so model.window.sink must be {config.chunk_frames} or more"


def _bank(config: WanConfig, bank: int) -> str | None:
    return None if bank else "needs a bank, so cache.bank must be 1 or more"


CACHE_RULES: Mapping[str, Rule] = {
    "ring": _any,
    "ema_sink": _sink_of_a_chunk,
    "adaptive_sink": _sink,
    "memory_bank": _bank,
    "pinned": _sink,
}
