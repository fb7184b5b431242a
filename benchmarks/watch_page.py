"""The picture alone, for a long time: the memory of a browser that shows /watch, and how soon it plays after a restart.

    python -m benchmarks.watch_page --minutes 30 --kills 2

The program is killed (SIGKILL) in regular intervals and started again. Memory is the sum over the browser's processes
of what is theirs alone (USS), so that shared libraries do not count.
"""

import argparse
import contextlib
import os
import signal
import sys
import time

import psutil
from playwright.sync_api import Page, ViewportSize

from benchmarks.live_program import BASE, chromium, running_program
from benchmarks.machine import describe

SIZE: ViewportSize = {"width": 1920, "height": 1080}
WAIT_S, POLL_S, SAMPLE_S = 60.0, 0.05, 60.0
COUNT = """() => {
    window.shown = 0;
    const video = document.querySelector("video"), frame = () => {
        window.shown += 1;
        video.requestVideoFrameCallback(frame);
    };
    video.requestVideoFrameCallback(frame);
}"""
HEAP = "() => performance.memory ? performance.memory.usedJSHeapSize : 0"


def memory_mb() -> float:
    """Of the browser: this process's children but the program itself, and theirs."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "chrom" in process.name() or "headless" in process.name():
                total += process.memory_full_info().uss
    return total / 1e6


def shown(page: Page) -> int:
    return page.evaluate("window.shown")


def until_shown(page: Page, more_than: int) -> float:
    """The seconds until the page has shown a further frame."""
    start_s = time.monotonic()
    while shown(page) <= more_than:
        if time.monotonic() - start_s > WAIT_S:
            raise TimeoutError(f"no frame within {WAIT_S:.0f} s")
        time.sleep(POLL_S)
    return time.monotonic() - start_s


def watch(page: Page, seconds: float) -> None:
    """Write a line of the table for each minute."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        before, begun_s = shown(page), time.monotonic()
        page.wait_for_timeout(1000 * min(SAMPLE_S, left_s))
        fps = (shown(page) - before) / (time.monotonic() - begun_s)
        sys.stdout.write(f"| {fps:.1f} | {memory_mb():.0f} | {page.evaluate(HEAP) / 1e6:.1f} |\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    stretch_s = 60 * options.minutes / (options.kills + 1)
    sys.stdout.write(f"{describe()}\n\n| frames a second | browser MB | script heap MB |\n|---|---|---|\n")
    again_s = []
    with chromium() as browser, browser.new_context(viewport=SIZE) as context:
        page = context.new_page()
        for number in range(options.kills + 1):
            with running_program(options.settings) as program:
                if number == 0:
                    page.goto(f"{BASE}/watch")
                    page.evaluate(COUNT)
                    until_shown(page, 0)
                else:
                    again_s.append(until_shown(page, shown(page)))
                watch(page, stretch_s)
                os.kill(program.pid, signal.SIGKILL)
    sys.stdout.write(f"\nA picture again after the program was ready, s: {', '.join(f'{s:.1f}' for s in again_s)}\n")


if __name__ == "__main__":
    main()
