"""What a viewer that can't keep up costs the others: their frames a second beside one that is well, asleep or hangs.

    python -m benchmarks.bad_viewers --viewers 8 --seconds 20 layout=inline

The others are WHEP clients in a process of their own. The bad one is such a client too, stopped by a signal, or the
page in a Chromium that has frozen its tab, or whose script hangs. Each row is the median of some rounds, and tells how
much the stream made meanwhile: a busy machine, or a browser on it, slows the stream itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from statistics import median

from playwright.sync_api import Browser, Page

from benchmarks.fanout import BASE, JOIN_S, running_program
from benchmarks.machine import describe
from benchmarks.panel_latency import chromium

LIVE = "document.querySelector('#pp1-status span')?.textContent === 'Live'"
Guest = Callable[[], AbstractContextManager[None]]


def crowd(count: int, seconds: float) -> subprocess.Popen[str]:
    """Viewers that join now and print their frames a second in the end."""
    command = [sys.executable, "-m", "benchmarks.viewers", BASE, str(count), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def client(seconds: float, stopped: bool) -> Iterator[None]:
    """One viewer that is well, or that its system has stopped."""
    process = crowd(1, seconds)
    time.sleep(JOIN_S)
    if stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def tab(browser: Browser, spoil: Callable[[Page], None]) -> Iterator[None]:
    """The page, spoilt as soon as it plays."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(BASE)
        page.wait_for_function(LIVE)
        spoil(page)
        yield


def freeze(page: Page) -> None:
    """As a browser does with a tab that has been hidden for long."""
    page.context.new_cdp_session(page).send("Page.setWebLifecycleState", {"state": "frozen"})


def hang(page: Page) -> None:
    """Its main thread waits for somebody to close a dialog."""
    page.on("dialog", lambda dialog: None)
    page.evaluate("setTimeout(() => alert('nobody will see this'))")


def frames_made() -> float:
    """By the stream so far."""
    with urllib.request.urlopen(f"{BASE}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("pp1_frames_total "))


def rates(guest: Guest, others: int, seconds: float) -> tuple[float, float, float]:
    """Frames a second while the guest is there: made by the stream; of the least and the average of the others."""
    with guest():
        watching = crowd(others, seconds)
        time.sleep(JOIN_S)
        begun, before = time.monotonic(), frames_made()
        time.sleep(seconds - JOIN_S / 2)
        made = (frames_made() - before) / (time.monotonic() - begun)
        fps = json.loads(watching.communicate()[0])
    return made, min(fps), sum(fps) / len(fps)


def table(guests: dict[str, Guest], rounds: int, others: int, seconds: float) -> list[str]:
    """A line a guest; each round has all of them, so that a busy time of the machine meets them alike."""
    found = {name: [] for name in guests}
    for _ in range(rounds):
        for name, guest in guests.items():
            found[name].append(rates(guest, others, seconds))
    lines = [
        "| one of the viewers | FPS of the stream | least FPS of the others | mean | of the stream's |",
        "|---|---|---|---|---|",
    ]
    for name, measured in found.items():
        made, least, mean = (median(values) for values in zip(*measured, strict=True))
        share = median(mean / made for made, _, mean in measured)
        lines.append(f"| {name} | {made:.1f} | {least:.1f} | {mean:.1f} | {100 * share:.0f} % |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    lasting = 3 * JOIN_S + options.seconds
    load = os.getloadavg()[0]
    with running_program(options.settings), chromium() as browser:
        guests: dict[str, Guest] = {
            "is like the others": lambda: client(lasting, stopped=False),
            "is stopped": lambda: client(lasting, stopped=True),
            "is a tab that is frozen": lambda: tab(browser, freeze),
            "is a tab that hangs": lambda: tab(browser, hang),
        }
        lines = table(guests, options.rounds, options.viewers - 1, options.seconds)
    heading = f"{describe()}; {options.viewers} viewers, {options.rounds} rounds; load average before: {load:.1f}"
    sys.stdout.write("\n".join([heading, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
