"""Every panel of the dashboards drawn from a real Prometheus that scrapes a running stream, and its numbers as text."""

import io
import json
import math
import time

import numpy as np
import pytest
from PIL import Image

from deploy.grafana.dashboards import dashboards
from deploy.grafana.pictures import COLOURS, Source, draw_dashboard, told
from tests.deploy.prometheus import wait_for

FEWEST_LINES = 200
"""Coloured points in a picture whose panels have lines."""


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.125, "s", "125 ms"), (2.5, "s", "2.5 s"), (0.954, "percentunit", "95 %"), (1_500_000, "bytes", "1.5 MB"),
        (2_000, "Bps", "2 kB/s"), (16.04, "none", "16"), (math.nan, "none", "–"), (0, "bytes", "0 B"),
    ],
)  # fmt: skip
def test_a_number_is_told_in_its_unit(value, unit, text):
    assert told(value, unit) == text


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(dashboards()))
def test_every_panel_is_drawn_with_points(watched, name):
    board = json.loads(dashboards()[name])
    program, drawn = watched.well, {}
    program.post("/api/control", {"action": "hard_cut"})

    wait_for(lambda: watched.prometheus.query("up"))  # it has begun to answer

    def all_have_points() -> bool:
        # Again and again: a rate needs a change between two samples.
        program.post("/api/prompt", {"prompt": "a green square moving right on a white background"})
        source = Source(watched.prometheus.url, f"127.0.0.1:{program.port}", time.time(), minutes=2)
        picture, points = draw_dashboard(board, source)
        drawn.update(picture=picture, points=points)
        return all(points.values())

    wait_for(all_have_points, lambda: [title for title, points in drawn["points"].items() if not points])
    assert set(drawn["points"]) == {panel["title"] for panel in board["panels"] if panel["type"] != "row"}
    pixels = np.asarray(Image.open(io.BytesIO(drawn["picture"])).convert("RGB")).astype(int)
    line = [int(COLOURS[0][start : start + 2], 16) for start in (1, 3, 5)]
    assert (np.abs(pixels - line).sum(axis=2) < 30).sum() > FEWEST_LINES
