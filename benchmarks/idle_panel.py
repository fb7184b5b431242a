"""What an open page that nobody touches costs the server: CPU of the serving process while the stream is paused.

python -m benchmarks.idle_panel --panels 4 --seconds 20 layout=inline
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import urllib.request

import psutil
from playwright.sync_api import Browser

from benchmarks.fanout import BASE, cpu_seconds, running_program
from benchmarks.machine import describe
from benchmarks.panel_latency import chromium

PAUSED = "document.querySelector('#pp1-status span')?.textContent === 'Paused'"
KNOWN = "/\\d/.test(document.querySelector('[data-figure=chunk]')?.textContent)"
"""The page has been told the state."""
SETTLE_S = 5.0
"""After pages have been loaded: what is measured is an open page, not its opening."""


def pause() -> None:
    body, headers = json.dumps({"action": "pause"}).encode(), {"content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{BASE}/api/control", body, headers)).close()


def percent_of_a_core(program: psutil.Process, seconds: float) -> float:
    start, used = time.monotonic(), cpu_seconds(program)
    time.sleep(seconds)
    return 100 * (cpu_seconds(program) - used) / (time.monotonic() - start)


def with_panels(program: psutil.Process, browser: Browser, count: int, video: bool, seconds: float) -> float:
    """Of a core, while so many pages are open. Without video what is left are its questions and the events."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            context = stack.enter_context(browser.new_context())
            page = context.new_page()
            if not video:
                page.route("**/whep", lambda route: route.abort())
            page.goto(BASE)
            page.wait_for_function(PAUSED if video else KNOWN)
        time.sleep(SETTLE_S)
        return percent_of_a_core(program, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panels", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with running_program(options.settings) as program, chromium() as browser:
        pause()
        time.sleep(SETTLE_S)
        nobody = percent_of_a_core(program, options.seconds)
        quiet = with_panels(program, browser, options.panels, False, options.seconds)
        whole = with_panels(program, browser, options.panels, True, options.seconds)
    lines = [
        f"| open, stream paused ({options.panels} pages) | CPU of the serving process, % of a core | for each page |",
        "|---|---|---|",
        f"| nothing | {nobody:.1f} | |",
        f"| pages without video: state and events | {quiet:.1f} | {(quiet - nobody) / options.panels:.1f} |",
        f"| pages with video | {whole:.1f} | {(whole - nobody) / options.panels:.1f} |",
    ]
    sys.stdout.write("\n".join([f"{describe()}; load average before: {load:.1f}", "", *lines]) + "\n")


if __name__ == "__main__":
    main()
