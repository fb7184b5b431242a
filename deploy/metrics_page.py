"""docs/metrics.md, generated from the catalogue of metrics."""

from collections.abc import Iterator

from pp1_orchestrator.telemetry.metrics_catalogue import CATALOGUE

_HEAD = """\
# Metrics

`GET /metrics` serves these metrics to Prometheus. `python -m deploy` generates this page from
`pp1_orchestrator/telemetry/metrics_catalogue.py`. A label with a fixed list of values has all of them from the start,
at 0. [Operating](operating.md) explains how to use the metrics.
"""
_BUCKETS = """\
## Buckets

Buckets are narrow where the times of real models are: 80 ms to 2 s for chunks, 200 ms to 5 s for prompts.
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
        labels = "<br>".join(f"`{label}`: {_meant(values)}" for label, values in spec.labels.items()) or "–"
        yield f"| `{spec.name}` | {spec.kind} | {spec.unit} | {labels} | {spec.meaning} |"


def _meant(values: str | tuple[str, ...]) -> str:
    """What a label stands for: words, or all of its values."""
    return values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)


def _bucket_table() -> Iterator[str]:
    """The lines of a Markdown table of the histograms' buckets."""
    yield "| histogram | upper bounds of its buckets |"
    yield "|---|---|"
    for spec in CATALOGUE:
        if spec.buckets:
            yield f"| `{spec.name}` | {' '.join(f'{bound:g}' for bound in spec.buckets)} |"
