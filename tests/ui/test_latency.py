"""The latency benchmark in its small form: every step is recorded in order, and the parts add up to the whole."""

import numpy
import pytest

from benchmarks.panel_latency import PARTS, STATIONS, measure, parts_of, table

pytestmark = pytest.mark.slow

CLOCKS_MS = 5
"""How far the server's and the page's clocks may differ."""


def test_every_station_is_passed_in_order(site, browser):
    samples = measure(browser, site.url, ("a red circle", "a blue circle"), changes=3)
    parts = parts_of(samples)
    assert parts.shape == (3, len(PARTS))
    to_screen, encoded, drawn = parts[:, :4], parts[:, 4], parts[:, 5]
    assert to_screen.min() > -CLOCKS_MS
    assert drawn.min() >= 0
    assert (parts[:, 3] + encoded).min() > 0  # it is told as shown when it has been encoded, and may be there by then
    totals = [sample[STATIONS[-1]] - sample[STATIONS[0]] for sample in samples]
    assert numpy.allclose(parts.sum(axis=1), totals)
    assert [line.split("|")[1].strip() for line in table(parts)[2:8]] == list(PARTS)
