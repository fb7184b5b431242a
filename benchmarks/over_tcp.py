"""The page where no UDP passes, beside the page over WebRTC: time to the picture, frames a second, prompt to picture.

    python -m benchmarks.over_tcp --changes 12 --seconds 20

The second browser is in a network namespace whose only way out is a forwarded TCP port, as behind `ssh -L`. Needs root.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from playwright.sync_api import Page

from benchmarks.live_program import BASE, PORT, chromium, running_program
from benchmarks.machine import describe
from tests.security.namespaces import inside, ip

WAIT_MS, ROUNDS = 20_000, 2
HEAD = (
    "| way | the page says | picture after s | frames a second | prompt to picture, median s | largest s |\n"
    "|---|---|---|---|---|---|\n"
)
POLL_S = 0.01
PROMPTS = {
    "a red circle standing still on a white background": "r > 140 && g > 140",
    "a red circle standing still on a blue background": "b > 90 && r < 90",
}
"""With what holds for a corner of the frame, which is background."""
LIVE = "document.querySelector('#pp1-status span')?.textContent.startsWith('Live')"
CORNER = """() => {
    const shown = document.querySelector("canvas:not([hidden])") ?? document.querySelector("video");
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    canvas.width = canvas.height = 16;
    context.drawImage(shown, 0, 0, 16, 16);
    return context.getImageData(0, 0, 1, 1).data;
}"""
COUNTS = """() => {
    window.shown = 0;
    const { live } = pp1.Player.prototype;
    pp1.Player.prototype.live = function (how) { window.shown += 1; live.call(this, how); };
}"""
FORWARD = """
import asyncio, sys
_, way, path, port = sys.argv
async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve(reader, writer):
    there = asyncio.open_unix_connection(path) if way == "in" else asyncio.open_connection("127.0.0.1", int(port))
    there_reader, there_writer = await there
    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer), return_exceptions=True)
async def main():
    if way == "in":
        server = await asyncio.start_server(serve, "127.0.0.1", int(port))
    else:
        server = await asyncio.start_unix_server(serve, path)
    await server.serve_forever()
asyncio.run(main())
"""
"""A process on each side; a Unix socket joins them, since its file is seen from every network namespace."""


@contextlib.contextmanager
def process(*words: str) -> Iterator[None]:
    running = subprocess.Popen(words)
    try:
        yield
    finally:
        running.terminate()
        running.wait()


@contextlib.contextmanager
def forwarded_port() -> Iterator[str]:
    """A namespace without any network, but with the program's port on its loopback address."""
    namespace = f"pp1tcp{os.getpid()}"
    with contextlib.ExitStack() as made:
        ip("netns", "add", namespace)
        made.callback(ip, "netns", "del", namespace)
        ip("-n", namespace, "link", "set", "dev", "lo", "up")
        path = str(Path(made.enter_context(tempfile.TemporaryDirectory())) / "socket")
        forward = (sys.executable, "-c", FORWARD)
        made.enter_context(process(*forward, "out", path, str(PORT)))
        made.enter_context(process(*inside(namespace, *forward, "in", path, str(PORT))))
        yield namespace


def until_corner(page: Page, test: str) -> float:
    """The seconds until the corner's colour passes the test."""
    start_s = time.monotonic()
    while not page.evaluate(f"() => {{ const [r, g, b] = ({CORNER})(); return {test}; }}"):
        if time.monotonic() - start_s > WAIT_MS / 1000:
            raise TimeoutError(f"{test} was never seen, but {page.evaluate(CORNER)}")
        time.sleep(POLL_S)
    return time.monotonic() - start_s


def row(way: str, page: Page, url: str, changes: int, seconds: float) -> str:
    start_s = time.monotonic()
    page.goto(url)
    page.wait_for_function(
        "document.querySelector('#pp1-status span')?.textContent.startsWith('Live')", timeout=WAIT_MS
    )
    until_corner(page, "r + g + b > 0")
    picture_s = time.monotonic() - start_s
    status = page.inner_text("#pp1-status span")
    page.evaluate(COUNTS)
    before, begun_s = page.evaluate("window.shown"), time.monotonic()
    page.wait_for_timeout(1000 * seconds)
    fps = (page.evaluate("window.shown") - before) / (time.monotonic() - begun_s)
    took_s = []
    for number in range(changes + 1):
        prompt, test = list(PROMPTS.items())[number % 2]
        page.fill("#pp1-prompt textarea", prompt)
        page.press("#pp1-prompt textarea", "Enter")
        took_s.append(until_corner(page, test))
        page.wait_for_timeout(700 + 130 * (number % 5))  # in every phase of a chunk
    took_s = sorted(took_s[1:])  # the first prompt may be shown already
    return f"| {way} | {status} | {picture_s:.1f} | {fps:.1f} | {statistics.median(took_s):.2f} | {took_s[-1]:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("settings", nargs="*")
    options = parser.parse_args()
    sys.stdout.write(f"{describe()}\n\n{HEAD}")
    with running_program(options.settings), forwarded_port() as namespace:
        for way, place in (("WebRTC", None), ("one TCP port", partial(inside, namespace))) * ROUNDS:
            with chromium(place) as opened, opened.new_context() as context:
                sys.stdout.write(row(way, context.new_page(), f"{BASE}/", options.changes, options.seconds) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
