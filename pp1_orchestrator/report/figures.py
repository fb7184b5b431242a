"""Figures of one job that its summary holds only in parts, and how figures are written. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

from pp1_orchestrator.measure.summary import Summary, UpdateSummary

NONE = "–"
PEAK = "peak"
MEGA = 1e6


class Latency(msgspec.Struct, frozen=True):
    """Prompt to pixels. first_only: no prompt changed while chunks were made, so this is the first prompt's."""

    max_chunks: int
    median_ms: float
    first_only: bool

    def __str__(self) -> str:
        text = f"{self.max_chunks} / {self.median_ms:.0f} ms"
        return f"{text} (first prompt)" if self.first_only else text


def prompt_latency(updates: Sequence[UpdateSummary]) -> Latency | None:
    """Over the updates that were shown. The first prompt waits for the start and counts where there is no other."""
    shown = [
        (update.accepted_chunk >= 0, update.latency_chunks, update.latency_ms)
        for update in updates
        if update.latency_chunks is not None and update.latency_ms is not None
    ]
    if not shown:
        return None
    counted = [update for update in shown if update[0]]
    chosen = counted or shown
    return Latency(
        max_chunks=max(chunks for _, chunks, _ in chosen),
        median_ms=statistics.median(ms for _, _, ms in chosen),
        first_only=not counted,
    )


def component_bytes(parts: Mapping[str, int]) -> int:
    """What a rank's weights and caches take; the peak of its process is no component."""
    return sum(size for name, size in parts.items() if name != PEAK)


def total_bytes(summary: Summary) -> int:
    """Components of all ranks."""
    return sum(component_bytes(parts) for parts in summary.memory.values())


def memory_text(memory: Mapping[str, Mapping[str, int]]) -> str:
    """MB by rank, with the peak of the rank's process behind it."""

    def rank(parts: Mapping[str, int]) -> str:
        peak = f" (peak {parts[PEAK] / MEGA:.0f})" if PEAK in parts else ""
        return f"{component_bytes(parts) / MEGA:.1f}{peak}"

    return ", ".join(f"{name}: {rank(memory[name])}" for name in sorted(memory, key=int)) or NONE


def figure(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"
