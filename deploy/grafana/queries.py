"""Prometheus expressions about one stream, from the catalogue of metrics. Knows nothing of panels.

`$instance` is the stream of the dashboard; `$__rate_interval` is Grafana's window of at least a few scrapes.
"""

from pp1_orchestrator.telemetry.metrics_catalogue import PHASE, Spec

WINDOW = "$__rate_interval"


def of(spec: Spec, suffix: str = "", **matching: str) -> str:
    """The metric's series of this stream.

    Args:
        suffix: `_sum`, `_count` or `_bucket` of a histogram.
        matching: a matcher for each label, with its operator: `component='!="peak"'`.
    """
    matchers = ['instance="$instance"', *(f"{label}{matcher}" for label, matcher in matching.items())]
    return f"{spec.name}{suffix}{{{', '.join(matchers)}}}"


def rate(spec: Spec, suffix: str = "", by: str = "", **matching: str) -> str:
    """Increase per second, summed over all labels except those in `by`."""
    return f"sum{_by(by)} (rate({of(spec, suffix, **matching)}[{WINDOW}]))"


def chunks() -> str:
    """Decoded chunks per second."""
    return rate(PHASE, "_count", phase='="decode"')


def increase(spec: Spec, by: str) -> str:
    """Increase in the window; 0 where there was none."""
    return f"sum{_by(by)} (increase({of(spec)}[{WINDOW}]))"


def mean(spec: Spec, by: str = "") -> str:
    """A histogram's mean in the window."""
    return f"{rate(spec, '_sum', by)} / {rate(spec, '_count', by)}"


def quantile(share: float, spec: Spec, window: str = WINDOW) -> str:
    """A histogram's quantile in the window; no value where nothing was observed."""
    return f"histogram_quantile({share}, sum by (le) (rate({of(spec, '_bucket')}[{window}])))"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
