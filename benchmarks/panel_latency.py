"""From a key press in the page to changed pixels in its <video>, part by part, over many changes of the prompt.

    python -m benchmarks.panel_latency --changes 30 layout=inline

The program runs as a user runs it, the page in a headless Chromium on the same machine, so that both have one clock.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page

from benchmarks.live_program import BASE, chromium, running_program
from benchmarks.machine import describe

PROBE = Path(__file__).with_suffix(".js")
PROMPTS = ("a red circle standing still on a white background", "a red circle standing still on a blue background")
WAIT_MS = 60_000
GAPS_MS = (400, 570, 740, 910)
"""Between changes. They differ, so that changes come in every phase of a chunk."""
STATIONS = ("key", "sent", "accepted", "applied", "visible", "received", "shown")
PARTS = (
    "panel: key to request sent",
    "HTTP: request sent to accepted",
    "server: accepted to planned in a chunk",
    "server: until the chunk is made and its turn comes",
    "encoder, transport, the browser's buffer",
    "panel: frame received to pixels in the video element",
)
PANEL = (0, 5)
"""The panel's own parts."""

Sample = dict[str, float]


def measure(browser: Browser, url: str, prompts: Sequence[str], changes: int) -> list[Sample]:
    """When each station was reached in each change, in Unix milliseconds."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        context.add_init_script(path=str(PROBE))
        page = context.new_page()
        page.goto(url)
        page.wait_for_function(
            "document.querySelector('#pp1-status span')?.textContent === 'Live' "
            "&& document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 3",
            timeout=WAIT_MS,
        )
        page.evaluate("probe.start()")
        _change(page, prompts[-1])  # so that the first measured change is a change
        return [_change(page, prompts[number % len(prompts)], number) for number in range(changes)]


def _change(page: Page, prompt: str, number: int = 0) -> Sample:
    page.fill("#pp1-prompt textarea", prompt)
    page.wait_for_timeout(GAPS_MS[number % len(GAPS_MS)])
    page.press("#pp1-prompt textarea", "Enter")
    return page.wait_for_function("probe.take()", timeout=WAIT_MS).json_value()


def parts_of(samples: Sequence[Sample]) -> np.ndarray:
    """Milliseconds from each station to the next, [change, part]."""
    return np.diff(np.array([[sample[station] for station in STATIONS] for sample in samples]), axis=1)


def table(parts: np.ndarray) -> list[str]:
    """Lines of Markdown. The quantiles of the sums are not the sums of the quantiles."""
    rows = [*zip(PARTS, parts.T, strict=True), ("**panel's own share**", parts[:, PANEL].sum(axis=1))]
    rows.append(("**all: key press to pixels**", parts.sum(axis=1)))
    lines = ["| part | p50 ms | p95 ms | max ms |", "|---|---|---|---|"]
    for name, values in rows:
        lines.append(f"| {name} | {np.median(values):.0f} | {np.percentile(values, 95):.0f} | {values.max():.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=30)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with running_program([f"run.prompt={PROMPTS[0]}", *options.settings]), chromium() as browser:
        parts = parts_of(measure(browser, BASE, PROMPTS, options.changes))
    heading = f"{describe()}; {options.changes} changes; load average before: {load:.1f}"
    sys.stdout.write("\n".join([heading, "", *table(parts)]) + "\n")


if __name__ == "__main__":
    main()
