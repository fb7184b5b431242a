"""The recording and alerting rules. What each alert means and what to do is docs/operating.md's.

`scale` multiplies every duration and range, so that a test need not wait minutes; names keep their full durations.
A stream that stands still because somebody paused it wakes nobody: what counts frames looks at pp1_paused, too.
"""

from __future__ import annotations

from typing import Any

import yaml

HEADER = "# Made by `python -m deploy` from deploy/prometheus/rules.py; don't edit.\n"
EVERY_S = 5
Rule = dict[str, Any]


class Durations:
    """Seconds as Prometheus writes them, scaled."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def __call__(self, seconds: float) -> str:
        scaled_ms = round(seconds * self._scale * 1000)
        if scaled_ms % 1000:
            return f"{scaled_ms}ms"
        whole = scaled_ms // 1000
        return f"{whole // 60}m" if whole % 60 == 0 else f"{whole}s"


def rules_page(scale: float = 1.0) -> str:
    """The text of rules.yml."""
    after = Durations(scale)
    groups = [
        {"name": "pp1-recording", "interval": after(EVERY_S), "rules": _recorded(after)},
        {"name": "pp1-alerts", "interval": after(EVERY_S), "rules": [*_standstill(after), *_slowness(after)]},
    ]
    return HEADER + yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)


def _alert(name: str, expression: str, severity: str, summary: str, description: str, wait: str | None = None) -> Rule:
    rule: Rule = {"alert": name, "expr": expression}
    if wait is not None:
        rule["for"] = wait
    return rule | {
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def _recorded(after: Durations) -> list[Rule]:
    """Only losses count as lost: frames that a hard cut made obsolete are not missed."""
    minute, five = after(60), after(300)
    expressions = {
        "instance:pp1_frames:rate1m": f"sum by (job, instance) (rate(pp1_frames_total[{minute}]))",
        "instance:pp1_fps_of_target:ratio": "instance:pp1_frames:rate1m / on (job, instance) pp1_target_fps",
        "instance:pp1_chunk_period_seconds:p50_1m": "histogram_quantile(0.5, sum by (job, instance, le) "
        f"(rate(pp1_chunk_period_seconds_bucket[{minute}])))",
        "instance:pp1_prompt_to_pixels_seconds:p95_5m": "histogram_quantile(0.95, sum by (job, instance, le) "
        f"(rate(pp1_prompt_to_pixels_seconds_bucket[{five}])))",
        "instance:pp1_frames_lost:ratio5m": "sum by (job, instance) "
        f'(rate(pp1_frames_dropped_total{{reason="late"}}[{five}])) '
        f"/ on (job, instance) sum by (job, instance) (rate(pp1_frames_total[{five}]))",
    }
    return [{"record": name, "expr": expression} for name, expression in expressions.items()]


def _standstill(after: Durations) -> list[Rule]:
    """Nothing comes. PP1StreamStalled is sooner than PP1NotReady where deadlines.chunk is long."""
    return [
        _alert(
            "PP1Unreachable", 'up{job="pp1"} == 0', "critical",
            "{{ $labels.instance }} does not answer",
            "Prometheus has had no answer from /metrics for 30 s: the process has ended, or its server hangs.",
            after(30),
        ),
        _alert(
            "PP1NotReady", "pp1_ready == 0", "critical",
            "{{ $labels.instance }} is not ready",
            "/readyz has said no for a minute: no chunk has been decoded within deadlines.chunk.",
            after(60),
        ),
        _alert(  # a stream that has only just gone on counts as paused
            "PP1StreamStalled",
            f"sum by (job, instance) (increase(pp1_frames_total[{after(30)}])) == 0 "
            f"and on (job, instance) max_over_time(pp1_paused[{after(45)}]) == 0",
            "critical",
            "{{ $labels.instance }} makes no frames",
            "Nothing has been decoded for 30 s though the stream is not paused.",
            after(10),
        ),
        _alert(
            "PP1RankDown", "pp1_rank_up == 0", "critical",
            "rank {{ $labels.rank }} of {{ $labels.instance }} is down",
            "A rank that should be up has been down for 15 s; without it no chunk can be made.",
            after(15),
        ),
        _alert(
            "PP1MeshRestarting",
            f"sum by (job, instance) (increase(pp1_mesh_restarts_total[{after(900)}])) > 2",
            "warning",
            "the mesh of {{ $labels.instance }} restarts again and again",
            '{{ $value | printf "%.0f" }} restarts in 15 minutes.',
        ),
    ]  # fmt: skip


def _slowness(after: Durations) -> list[Rule]:
    """Pictures come, but late, or not all of them."""
    return [
        _alert(
            "PP1BelowTarget",
            "instance:pp1_fps_of_target:ratio < 0.9 "
            f"and on (job, instance) max_over_time(pp1_paused[{after(90)}]) == 0",
            "warning",
            "{{ $labels.instance }} makes {{ $value | humanizePercentage }} of the frames it shows",
            "Chunks take longer than their pictures last: viewers see the last picture again.",
            after(60),
        ),
        _alert(
            "PP1PromptLatencyHigh", "instance:pp1_prompt_to_pixels_seconds:p95_5m > 5", "warning",
            "prompts take {{ $value | humanizeDuration }} on {{ $labels.instance }}",
            "The slowest of 20 prompts of the last 5 minutes took longer than 5 s to its first picture.",
            after(60),
        ),
        _alert(
            "PP1PromptsFail", f'increase(pp1_prompt_updates_total{{outcome="failed"}}[{after(300)}]) > 0', "warning",
            "prompts can't be encoded on {{ $labels.instance }}",
            "An accepted prompt failed in the last 5 minutes; the log says why.",
        ),
        _alert(
            "PP1FramesDropped", "instance:pp1_frames_lost:ratio5m > 0.01", "warning",
            "{{ $labels.instance }} drops {{ $value | humanizePercentage }} of its frames",
            "Frames come faster than they are shown and the oldest are thrown away.",
            after(60),
        ),
        _alert(
            "PP1SlowViewers",
            f'sum by (job, instance) (rate(pp1_frames_dropped_total{{reason="slow_viewer"}}[{after(300)}])) > 1',
            "info",
            "viewers of {{ $labels.instance }} can't keep up",
            '{{ $value | printf "%.1f" }} frames a second don\'t reach a viewer whose queue is full; '
            "others are not affected.",
            after(120),
        ),
    ]  # fmt: skip
