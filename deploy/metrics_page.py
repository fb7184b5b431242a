"""docs/metrics.md, generated from the catalogue of metrics."""

from collections.abc import Iterator, Sequence

from pp1_orchestrator.telemetry.metrics_catalogue import CATALOGUE, PROCESS, Spec

_HEAD = """\
# Metrics

`GET /metrics` serves these metrics to Prometheus. `python -m deploy` generates this page from
`pp1_orchestrator/telemetry/metrics_catalogue.py`. A label with a fixed list of values has all of them from the start,
at 0. [Operating](operating.md) explains how to use the metrics.
"""
_PROCESS = """\
## The process of rank 0

These are the usual names for any program. On Linux only.
"""
_BUCKETS = """\
## Buckets

Buckets are narrow where the times of real models are: 80 ms to 2 s for chunks, 200 ms to 5 s for prompts.
"""


def metrics_page() -> str:
    """The whole page."""
    own, process, buckets = ("\n".join(lines) + "\n" for lines in (_table(CATALOGUE), _table(PROCESS), _bucket_table()))
    return "\n".join((_HEAD, own, _PROCESS, process, _BUCKETS, buckets))


def _table(specs: Sequence[Spec]) -> Iterator[str]:
    """The lines of a Markdown table of metrics."""
    yield "| metric | kind | unit | labels | meaning |"
    yield "|---|---|---|---|---|"
    for spec in specs:
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
