"""Prometheus expressions about one stream, from the catalogue of metrics. Knows nothing of panels.

`$instance` is the stream that a dashboard looks at, `$__rate_interval` Grafana's own window: a few scrapes at least.
"""

from __future__ import annotations

from pp1_orchestrator.telemetry.metrics_catalogue import PHASE, Spec

WINDOW = "$__rate_interval"


def of(spec: Spec, suffix: str = "", **matching: str) -> str:
    """The metric's series of this stream; suffix: `_sum`, `_count` or `_bucket` of a histogram.

    matching: a matcher by label, with its operator: `component='!="peak"'`.
    """
    matchers = ['instance="$instance"', *(f"{label}{matcher}" for label, matcher in matching.items())]
    return f"{spec.name}{suffix}{{{', '.join(matchers)}}}"


def rate(spec: Spec, suffix: str = "", by: str = "", **matching: str) -> str:
    """How much a second, summed up but for the labels in `by`."""
    return f"sum{_by(by)} (rate({of(spec, suffix, **matching)}[{WINDOW}]))"


def chunks() -> str:
    """Decoded chunks a second."""
    return rate(PHASE, "_count", phase='="decode"')


def increase(spec: Spec, by: str) -> str:
    """How many in the window; 0 where there was none."""
    return f"sum{_by(by)} (increase({of(spec)}[{WINDOW}]))"


def mean(spec: Spec, by: str = "") -> str:
    """A histogram's mean in the window."""
    return f"{rate(spec, '_sum', by)} / {rate(spec, '_count', by)}"


def quantile(share: float, spec: Spec, window: str = WINDOW) -> str:
    """A histogram's quantile in the window; no number where nothing was observed."""
    return f"histogram_quantile({share}, sum by (le) (rate({of(spec, '_bucket')}[{window}])))"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
