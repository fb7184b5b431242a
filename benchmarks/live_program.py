"""The program as a user runs it, ready, and a headless Chromium for its page."""

import contextlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
from playwright.sync_api import Browser, sync_playwright

PORT = 7871
BASE = f"http://127.0.0.1:{PORT}"
START_S = 90.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextlib.contextmanager
def running_program(settings: list[str]) -> Iterator[psutil.Process]:
    """The program, ready, as a process."""
    with tempfile.TemporaryDirectory() as folder:
        own = [f"serving.port={PORT}", f"hydra.run.dir={folder}"]
        command = [sys.executable, "-m", "pp1_orchestrator", *own, *settings]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_until_ready()
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready() -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(f"{BASE}/readyz"):
            return
        time.sleep(0.5)
    raise TimeoutError(f"the program was not ready within {START_S:.0f} s")


@contextlib.contextmanager
def chromium(within: Callable[[str], Sequence[str]] | None = None) -> Iterator[Browser]:
    """The system's browser, or playwright's. within: the words that start a program in another place."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        found = next(filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path)
        if within is not None:
            started = Path(folder) / "chromium"
            started.write_text(f'#!/bin/sh\nexec {shlex.join(within(found))} "$@"\n')
            started.chmod(0o755)
            found = str(started)
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
