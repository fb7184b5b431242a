"""docs/metrics.md, made from the catalogue of metrics."""

from __future__ import annotations

from pp1_orchestrator.telemetry.metrics_catalogue import bucket_table, table

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
    parts = (_HEAD, "\n".join(table()) + "\n", _BUCKETS, "\n".join(bucket_table()) + "\n")
    return "\n".join(parts)
