"""The dashboard "overview": the state of one stream, from its frames down to its ranks."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import Events, Panel, Query, Row, chart, figure, framed
from deploy.grafana.queries import chunks, increase, mean, of, quantile, rate
from pp1_orchestrator.telemetry import metrics_catalogue as pp1

EPOCH_STEP = "15s"
PROMPT_WINDOW = "5m"
"""Prompts are rare, so a window of a few scrapes would usually be empty."""


def overview() -> Dashboard:
    rows = [Row("Now", _now()), Row("Speed", _speed()), Row("Prompts", _prompts()), Row("Health", _health())]
    description = "One stream: speed, prompt latency, losses. Purple marks are new epochs with their reason."
    board = framed("pp1-overview", "PP1 overview", description, pp1.TARGET_FPS.name, rows)
    return board.annotation(Events("new epoch", _new_epochs(), "reason", EPOCH_STEP))


def _new_epochs() -> str:
    """The difference to one step ago marks each change once. A range function would miss changes between two ranges."""
    epochs = of(pp1.EPOCHS)
    return f"sum by (reason) ({epochs} - {epochs} offset {EPOCH_STEP}) > 0"


def _now() -> list[Panel]:
    on_target = f"{rate(pp1.FRAMES)} / sum({of(pp1.TARGET_FPS)})"
    return [
        figure("FPS", "Frames decoded per second.", rate(pp1.FRAMES)),
        figure("of the target", "Red: viewers see repeated frames.", on_target, "percentunit", bad_below=0.95),
        figure("ready", "The answer of /readyz.", of(pp1.READY), bad_below=1),
        figure("ranks up", "Red while any rank is down.", f"avg({of(pp1.RANK_UP)})", "percentunit", 1),
        figure("viewers", "Connected now.", f"sum({of(pp1.VIEWERS)})"),
        figure("overlap score", "0 to 1; 1: the shorter of rank 0's work and the mesh's costs no time.", of(pp1.SCORE)),
    ]


def _speed() -> list[Panel]:
    allowed = f"{rate(pp1.FRAMES)} / {chunks()} / sum({of(pp1.TARGET_FPS)})"
    return [
        chart(
            "FPS against target",
            "Frames decoded per second, and the rate at which they are shown. Pacing keeps it at or below the target.",
            "none",
            Query(rate(pp1.FRAMES), "FPS"),
            Query(of(pp1.TARGET_FPS), "target"),
        ),
        chart(
            "Period of a chunk",
            "From one decoded chunk to the next, and how long one may take at the target FPS.",
            "s",
            Query(quantile(0.5, pp1.PERIOD), "p50"),
            Query(quantile(0.95, pp1.PERIOD), "p95"),
            Query(allowed, "allowed"),
        ),
        chart(
            "Phases of a chunk, mean",
            "Where the time goes. With overlap, the period is the longer of mesh and decode, not their sum.",
            "s",
            Query(mean(pp1.PHASE, "phase, rank"), "{{phase}} (rank {{rank}})"),
        ),
        chart(
            "Overlap score",
            "Share of the shorter stage's time that is overlapped, 0 to 1.",
            "none",
            Query(of(pp1.SCORE), "score"),
        ),
    ]


def _prompts() -> list[Panel]:
    return [
        chart(
            "Prompt to pixels",
            "From accepting a prompt to its first decoded frame, over the last 5 minutes. Empty: there was no prompt.",
            "s",
            Query(quantile(0.5, pp1.TO_PIXELS, PROMPT_WINDOW), "p50"),
            Query(quantile(0.95, pp1.TO_PIXELS, PROMPT_WINDOW), "p95"),
            span=8,
        ),
        chart(
            "Prompt to pixels, in chunks",
            "The same in chunks: the cost of queues and overlap, independent of the machine's speed.",
            "none",
            Query(quantile(0.5, pp1.TO_PIXELS_IN_CHUNKS, PROMPT_WINDOW), "p50"),
            Query(quantile(0.95, pp1.TO_PIXELS_IN_CHUNKS, PROMPT_WINDOW), "p95"),
            span=8,
        ),
        chart(
            "Prompt updates",
            "By outcome. Superseded: replaced by a newer prompt. Failed: could not be encoded.",
            "none",
            Query(increase(pp1.PROMPT_UPDATES, "outcome"), "{{outcome}}"),
            span=8,
        ),
    ]


def _health() -> list[Panel]:
    return [
        chart("Queues", "Waiting entries. A full queue slows down its producer.", "none",
              Query(of(pp1.QUEUE), "{{queue}}"), span=8),
        chart("Frames dropped per second", "cut, old_epoch: hard cuts. late, slow_viewer: losses.", "none",
              Query(rate(pp1.DROPPED, by="reason"), "{{reason}}"), span=8),
        chart("New epochs", "Hard cuts by their cause.", "none",
              Query(increase(pp1.EPOCHS, "reason"), "{{reason}}"), span=8),
        chart("Viewers", "Connected, by the way that the video takes.", "none",
              Query(of(pp1.VIEWERS), "{{transport}}"), span=8),
        chart("Packets lost on the way to viewers", "Per second; most are sent again. Many: the network is too slow.",
              "none", Query(rate(pp1.VIEWER_PACKETS, outcome='="lost"'), "lost"), span=8),
        chart("Round-trip time to viewers, mean", "By their reports; 0 without a viewer.", "s",
              Query(f"{rate(pp1.VIEWER_RTT, '_sum')} / clamp_min({rate(pp1.VIEWER_RTT, '_count')}, 1e-9)", "mean"),
              span=8),
        chart("Ranks", "1 while a rank is alive.", "none", Query(of(pp1.RANK_UP), "rank {{rank}}"), span=8),
        chart("Restarts of the mesh, and states",
              "Restarts and duplicate results in the window; 1 for the current state, and while paused.", "none",
              Query(f"sum(increase({of(pp1.RESTARTS)}[$__rate_interval]))", "restarts"),
              Query(f"sum(increase({of(pp1.REPEATED)}[$__rate_interval]))", "duplicate results"),
              Query(of(pp1.PAUSED), "paused"), Query(of(pp1.STATE), "{{state}}"), span=8),
        chart("Requests refused by a limit", "Too many from one address, or no free place for a viewer.", "none",
              Query(increase(pp1.LIMITED, "limit"), "{{limit}}"), span=8),
        chart("Media process", "1 while it can admit viewers, and its restarts in the window.", "none",
              Query(of(pp1.MEDIA_UP), "up"), Query(increase(pp1.MEDIA_RESTARTS, "reason"), "{{reason}}"), span=8),
    ]  # fmt: skip
