"""What the media process counts until rank 0 hears of it."""

from pp1_orchestrator.media_process.figures import REPORTS_LIMIT, FigureCounter


def test_reports_of_viewers_travel_once_and_are_bounded():
    counter = FigureCounter(lambda: None)
    for _ in range(REPORTS_LIMIT + 10):
        counter.viewer_quality(0.02, 5, 1)
    counter.viewer_quality(None, 5, 0)
    figures = counter.take()
    assert figures.rtts_s == (0.02,) * REPORTS_LIMIT
    assert (figures.packets_sent, figures.packets_lost) == (5 * (REPORTS_LIMIT + 11), REPORTS_LIMIT + 10)
    assert counter.take().rtts_s == ()
    assert counter.take().packets_sent == 0
