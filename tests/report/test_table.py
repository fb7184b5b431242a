"""Prompt latency and memory out of a summary."""

from pp1_orchestrator.report.table import Latency, memory_text, prompt_latency, total_bytes
from pp1_orchestrator.telemetry.summary import UpdateSummary
from tests.report.factories import summary

FIRST = UpdateSummary("u1", "a", accepted_chunk=-1, applied_chunk=0, latency_chunks=1, latency_ms=2500.0)


def change(chunks: int | None, ms: float | None) -> UpdateSummary:
    return UpdateSummary("u", "b", accepted_chunk=3, applied_chunk=None, latency_chunks=chunks, latency_ms=ms)


def test_the_first_prompt_counts_only_where_no_other_does():
    assert prompt_latency([FIRST]) == Latency(max_chunks=1, median_ms=2500.0, first_only=True)
    assert prompt_latency([FIRST, change(2, 700.0)]) == Latency(max_chunks=2, median_ms=700.0, first_only=False)


def test_most_chunks_and_median_time_of_the_updates_that_were_shown():
    latency = prompt_latency([change(1, 400.0), change(None, None), change(3, 900.0), change(2, 500.0)])
    assert latency == Latency(max_chunks=3, median_ms=500.0, first_only=False)
    assert str(latency) == "3 / 500 ms"


def test_without_an_update_that_was_shown_there_is_no_latency():
    assert prompt_latency([change(None, None)]) is None


def test_memory_is_the_sum_of_components_and_the_peak_apart():
    assert total_bytes(summary(memory=10_000_000)) == 12_500_000
    memory = {"0": {"vae": 2_000_000, "cache": 500_000, "peak": 7_000_000}, "10": {"g": 1_000_000}, "2": {}}
    assert memory_text(memory) == "0: 2.5 (peak 7), 2: 0.0, 10: 1.0"
