"""docs/metrics.md, made from the catalogue of metrics."""

from __future__ import annotations

from collections.abc import Iterator

from pp1_orchestrator.telemetry.metrics_catalogue import CATALOGUE

_HEAD = """\
# Metrics

`GET /metrics` tells Prometheus the following. This page is made from
`pp1_orchestrator/telemetry/metrics_catalogue.py` by `python -m deploy`. Labels with a fixed list of values have all of
them from the start, with 0. [operating.md](operating.md) says what to do with the figures.
"""
_BUCKETS = """\
## Buckets

Bounds lie close together where times of real models lie: chunks of 80 ms to 2 s, prompts of 200 ms to 5 s.
"""


def metrics_page() -> str:
    """The whole page."""
    parts = (_HEAD, "\n".join(_table()) + "\n", _BUCKETS, "\n".join(_bucket_table()) + "\n")
    return "\n".join(parts)


def _table() -> Iterator[str]:
    """The lines of a Markdown table of all metrics."""
    yield "| metric | kind | unit | labels | meaning |"
    yield "|---|---|---|---|---|"
    for spec in CATALOGUE:
        labels = "<br>".join(f"`{label}`: {values}" for label, values in spec.labels.items()) or "–"
        yield f"| `{spec.name}` | {spec.kind} | {spec.unit} | {labels} | {spec.meaning} |"


def _bucket_table() -> Iterator[str]:
    """The lines of a Markdown table of the histograms' buckets."""
    yield "| histogram | upper bounds of its buckets |"
    yield "|---|---|"
    for spec in CATALOGUE:
        if spec.buckets:
            yield f"| `{spec.name}` | {' '.join(f'{bound:g}' for bound in spec.buckets)} |"
