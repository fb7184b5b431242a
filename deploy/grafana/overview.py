"""The dashboard "overview": how one stream is doing, from its pictures down to its ranks."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.grafana.panels import Events, Panel, Query, Row, chart, figure, framed
from deploy.grafana.queries import chunks, increase, mean, of, quantile, rate
from pp1_orchestrator.telemetry import metrics_catalogue as pp1

EPOCH_STEP = "15s"
PROMPT_WINDOW = "5m"
"""Prompts are rare: a window of a few scrapes would mostly be empty."""


def overview() -> Dashboard:
    rows = [Row("Now", _now()), Row("Speed", _speed()), Row("Prompts", _prompts()), Row("Health", _health())]
    says = "One stream: how fast, how soon a prompt shows, what is lost. Purple marks are new epochs and their reason."
    board = framed("pp1-overview", "PP1 overview", says, pp1.TARGET_FPS.name, rows)
    return board.annotation(Events("new epoch", _new_epochs(), "reason", EPOCH_STEP))


def _new_epochs() -> str:
    """A difference to one step ago marks every change once; a function over a range would miss some between ranges."""
    epochs = of(pp1.EPOCHS)
    return f"sum by (reason) ({epochs} - {epochs} offset {EPOCH_STEP}) > 0"


def _now() -> list[Panel]:
    on_target = f"{rate(pp1.FRAMES)} / sum({of(pp1.TARGET_FPS)})"
    return [
        figure("FPS", "Pictures decoded a second.", rate(pp1.FRAMES)),
        figure("of the target", "Red: viewers see repeats.", on_target, "percentunit", bad_below=0.95),
        figure("ready", "What /readyz says.", of(pp1.READY), bad_below=1),
        figure("ranks up", "Red as soon as one is down.", f"avg({of(pp1.RANK_UP)})", "percentunit", 1),
        figure("viewers", "Connected now.", of(pp1.VIEWERS)),
        figure("overlap score", "1: all of rank 0's work is hidden behind the mesh's.", of(pp1.SCORE)),
    ]


def _speed() -> list[Panel]:
    allowed = f"{rate(pp1.FRAMES)} / {chunks()} / sum({of(pp1.TARGET_FPS)})"
    return [
        chart(
            "FPS against target",
            "Decoded a second, and the rate at which the stream is shown. Paced: it does not go above the target.",
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
            "Which phase takes the time. With overlap the period is the greater of mesh and decode, not their sum.",
            "s",
            Query(mean(pp1.PHASE, "phase, rank"), "{{phase}} (rank {{rank}})"),
        ),
        chart("Overlap score", "Share of rank 0's work that is hidden.", "none", Query(of(pp1.SCORE), "score")),
    ]


def _prompts() -> list[Panel]:
    return [
        chart(
            "Prompt to pixels",
            "From an accepted prompt to its first decoded picture, of the last 5 minutes. Empty: no prompt came.",
            "s",
            Query(quantile(0.5, pp1.TO_PIXELS, PROMPT_WINDOW), "p50"),
            Query(quantile(0.95, pp1.TO_PIXELS, PROMPT_WINDOW), "p95"),
            span=8,
        ),
        chart(
            "Prompt to pixels, in chunks",
            "The same in chunks: what queues and overlap cost, whatever the machine's speed.",
            "none",
            Query(quantile(0.5, pp1.TO_PIXELS_IN_CHUNKS, PROMPT_WINDOW), "p50"),
            Query(quantile(0.95, pp1.TO_PIXELS_IN_CHUNKS, PROMPT_WINDOW), "p95"),
            span=8,
        ),
        chart(
            "Prompt updates",
            "What became of them. Superseded ones were overtaken by a newer one, failed ones could not be encoded.",
            "none",
            Query(increase(pp1.PROMPT_UPDATES, "outcome"), "{{outcome}}"),
            span=8,
        ),
    ]


def _health() -> list[Panel]:
    return [
        chart("Queues", "Entries that wait; full ones slow down who fills them.", "none",
              Query(of(pp1.QUEUE), "{{queue}}"), span=8),
        chart("Frames dropped a second", "cut, old_epoch: hard cuts. late, slow_viewer: losses.", "none",
              Query(rate(pp1.DROPPED, by="reason"), "{{reason}}"), span=8),
        chart("New epochs", "Hard cuts by what asked for them.", "none",
              Query(increase(pp1.EPOCHS, "reason"), "{{reason}}"), span=8),
        chart("Viewers", "Connected over WebRTC.", "none", Query(of(pp1.VIEWERS), "viewers"), span=8),
        chart("Ranks", "1 while a rank is alive.", "none", Query(of(pp1.RANK_UP), "rank {{rank}}"), span=8),
        chart("Restarts of the mesh, and states",
              "Restarts, and results that came twice, in the window; 1 for the state and while paused.", "none",
              Query(f"sum(increase({of(pp1.RESTARTS)}[$__rate_interval]))", "restarts"),
              Query(f"sum(increase({of(pp1.REPEATED)}[$__rate_interval]))", "results that came twice"),
              Query(of(pp1.PAUSED), "paused"), Query(of(pp1.STATE), "{{state}}"), span=8),
        chart("Requests refused by a limit", "Too many a second from one address, or no place for a viewer.", "none",
              Query(increase(pp1.LIMITED, "limit"), "{{limit}}"), span=8),
    ]  # fmt: skip
