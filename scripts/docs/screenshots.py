"""Takes screenshots of the page of a running program, after a few changes of the prompt.

python -m scripts.docs.screenshots docs/images     # panel-light.png, -dark.png, -narrow.png, -stalled.png
python -m scripts.docs.screenshots FOLDER --all    # also with everything open, and paused
"""

import argparse
import contextlib
import json
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

Scheme = Literal["light", "dark"]

START_S = 90
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
STOPPED_RANK = "2"
FADED_MS = 1000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = (1440, 940), (390, 844)
PROMPTS = (
    "a red circle moving left on a blue background",
    "a yellow star spinning on a black background",
    "a green star moving right on a purple background",
)
OPEN_ALL = "document.querySelectorAll('details').forEach((details) => (details.open = true))"
WATCHED_S = 36
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


def opened(browser: Browser, url: str, size: tuple[int, int], scheme: Scheme) -> Page:
    """The page, playing."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    wait_status(page, "Live")
    return page


def wait_status(page: Page, word: str) -> None:
    check = "word => document.querySelector('#pp1-status span')?.textContent === word"
    page.wait_for_function(check, arg=word, timeout=START_S * 1000)


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


def look(page: Page, scheme: Scheme) -> None:
    """Change the light, and wait until the page's framework has faded its colours."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_timeout(FADED_MS)


def desktop(page: Page, folder: Path) -> None:
    """The same moment in both lights."""
    for scheme in SCHEMES:
        look(page, scheme)
        page.screenshot(path=folder / f"panel-{scheme}.png")
    look(page, "light")


def phone(browser: Browser, url: str, scheme: Scheme, path: Path, is_open: bool = False) -> None:
    """All of the page on a narrow screen, a while after it was opened."""
    page = opened(browser, url, PHONE, scheme)
    ask(page, PROMPTS[1])
    page.wait_for_timeout(WATCHED_S * 1000)
    if is_open:
        page.evaluate(OPEN_ALL)
    page.evaluate("document.activeElement?.blur()")
    page.screenshot(path=path, full_page=True)
    page.context.close()


def stalled(page: Page, url: str, path: Path) -> None:
    """A process of the mesh is stopped, and the picture taken before the program has found out."""
    with urllib.request.urlopen(f"{url}/api/state", timeout=5) as answer:
        pid = json.load(answer)["ranks"][STOPPED_RANK]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_status(page, "Stalled")
        page.wait_for_function("document.querySelector('[data-figure=fps]').textContent === '0.0'")
        page.wait_for_timeout(FADED_MS)
        page.screenshot(path=path)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_status(page, "Live")


def variants(page: Page, browser: Browser, url: str, folder: Path) -> None:
    """The same stream with everything open, and paused."""
    page.evaluate(OPEN_ALL)
    page.click("#pp1-add")
    page.fill("#pp1-rows input[type=text]", "a blue star moving right on a purple background")
    page.click("#pp1-recording")
    page.wait_for_selector("#pp1-entries .entry")
    page.click("#pp1-run")
    page.wait_for_selector("#pp1-coming:not([hidden])")
    for scheme in SCHEMES:
        look(page, scheme)
        page.screenshot(path=folder / f"panel-{scheme}-open.png", full_page=True)
    phone(browser, url, "dark", folder / "panel-narrow-dark-open.png", is_open=True)
    page.click("#pp1-pause")
    wait_status(page, "Paused")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(FADED_MS)
    page.screenshot(path=folder / "panel-paused.png")


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
        desktop(page, options.folder)
        stalled(page, url, options.folder / "panel-stalled.png")
        phone(browser, url, "light", options.folder / "panel-narrow.png")
        if options.all:
            variants(page, browser, url, options.folder)
        browser.close()


if __name__ == "__main__":
    main()
