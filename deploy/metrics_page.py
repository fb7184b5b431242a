"""docs/metrics.md, generated from the catalogue of metrics."""

from __future__ import annotations

from pp1_orchestrator.telemetry.metrics_catalogue import bucket_table, table

_HEAD = """\
# Metrics

`GET /metrics` serves these metrics to Prometheus. `python -m deploy` generates this page from
`pp1_orchestrator/telemetry/metrics_catalogue.py`. A label with a fixed list of values has all of them from the start,
at 0. [operating.md](operating.md) explains how to use the metrics.
"""
_BUCKETS = """\
## Buckets

Buckets are narrow where the times of real models are: 80 ms to 2 s for chunks, 200 ms to 5 s for prompts.
"""


def metrics_page() -> str:
    """The whole page."""
    parts = (_HEAD, "\n".join(table()) + "\n", _BUCKETS, "\n".join(bucket_table()) + "\n")
    return "\n".join(parts)
