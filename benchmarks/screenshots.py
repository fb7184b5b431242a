"""Pictures of the running page, as a visitor sees it after a few changes: the program is started for them.

python -m benchmarks.screenshots docs/images           # panel.png
python -m benchmarks.screenshots FOLDER --all          # also dark, on a phone, with everything open, and paused
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

START_S = 90
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = (1440, 900), (390, 844)
PROMPTS = (
    "a red circle moving left on a blue background",
    "a yellow star spinning on a black background",
    "a green star moving right on a purple background",
)
OPEN_ALL = "document.querySelectorAll('details').forEach((details) => (details.open = true))"
WATCHED_S = 25
"""How long the figures are watched before the picture is taken."""


@contextlib.contextmanager
def program() -> Iterator[str]:
    """The address of a stream with the defaults, which ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        options = [f"serving.port={url.rsplit(':')[-1]}", f"hydra.run.dir={folder}", f"run.prompt={PROMPTS[0]}"]
        process = subprocess.Popen([sys.executable, "-m", "pp1_orchestrator", *options], start_new_session=True)
        try:
            _wait_until_ready(url, process)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(START_S)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"{url}/readyz", timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit("the program did not become ready")


def opened(browser: Browser, url: str, size: tuple[int, int], scheme: str) -> Page:
    """The page, playing."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_function("document.querySelector('#pp1-status span')?.textContent === 'Live'")
    return page


def ask(page: Page, prompt: str) -> None:
    """Ask, and wait until it is seen."""
    page.fill("#pp1-prompt textarea", prompt)
    page.click("#pp1-apply")
    page.wait_for_function("!document.querySelector('#pp1-receipt [data-step=visible].done')")
    page.wait_for_selector("#pp1-receipt [data-step=visible].done", timeout=START_S * 1000)


def watched(page: Page) -> None:
    """Changes, and the time between them."""
    for prompt in PROMPTS:
        ask(page, prompt)
        page.wait_for_timeout(WATCHED_S * 1000 / len(PROMPTS))
    page.evaluate("document.activeElement?.blur()")
    page.mouse.move(0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="every variant")
    options = parser.parse_args()
    with program() as url, sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = opened(browser, url, DESKTOP, "light")
        watched(page)
        page.screenshot(path=options.folder / "panel.png")
        if options.all:
            variants(page, browser, url, options.folder)
        browser.close()


def look(page: Page, scheme: Literal["light", "dark"]) -> None:
    """Change the light, and wait until the page's framework has faded its colours."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(1000)


def variants(page: Page, browser: Browser, url: str, folder: Path) -> None:
    """The same stream in other lights and sizes."""
    look(page, "dark")
    page.screenshot(path=folder / "panel-dark.png")
    page.evaluate(OPEN_ALL)
    page.click("#pp1-add")
    page.fill("#pp1-rows input[type=text]", "a blue star moving right on a purple background")
    page.click("#pp1-recording")
    page.wait_for_selector("#pp1-entries .entry")
    page.click("#pp1-run")
    page.wait_for_selector("#pp1-coming:not([hidden])")
    page.screenshot(path=folder / "panel-dark-open.png", full_page=True)
    look(page, "light")
    page.screenshot(path=folder / "panel-open.png", full_page=True)
    for scheme in ("light", "dark"):
        phone = opened(browser, url, PHONE, scheme)
        phone.wait_for_timeout(8000)
        if scheme == "dark":
            phone.evaluate(OPEN_ALL)
        phone.screenshot(path=folder / f"panel-phone-{scheme}.png", full_page=True)
        phone.context.close()
    page.click("#pp1-pause")
    page.wait_for_function("document.querySelector('#pp1-status span').textContent === 'Paused'")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1000)
    page.screenshot(path=folder / "panel-paused.png")


if __name__ == "__main__":
    main()
