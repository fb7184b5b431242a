"""A headless Chromium, from the system or from playwright, and the system's headless Firefox."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    BrowserType,
    Page,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)

Scheme = Literal["light", "dark"]
Name = Literal["chromium", "firefox"]
WAIT_S = 120.0
expect.set_options(timeout=1000 * WAIT_S)
OVER_TCP = "Live · TCP"
WIDTH, HEIGHT = 960, 640
"""Enough for the layout of a desktop. A browser without a GPU draws each frame pixel by pixel."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FIREFOX = ("firefox-esr", "firefox")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
NOT_SECURE = "stream.test"
"""A name that is not loopback, so that the page is not secure and WebCodecs is missing."""
NO_UDP_FLAGS = (
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    f"--host-resolver-rules=MAP {NOT_SECURE} 127.0.0.1",
)
NO_UDP_PREFERENCES = {"media.peerconnection.ice.proxy_only": True, "network.dns.localDomains": NOT_SECURE}
"""No UDP, and where the name leads."""
SHOWS_FRAMES = """() => new Promise((done) => {
    const video = document.querySelector("video");
    let wanted = 4;
    const frame = () => (wanted-- ? video.requestVideoFrameCallback(frame) : done(true));
    if (!video) return done(false);
    frame();
    setTimeout(() => done(false), 4000);
})"""
"""Firefox counts no frames in `getVideoPlaybackQuality` of a stream."""
MEAN_COLOUR = """() => {
    const video = document.querySelector("canvas:not([hidden])") ?? document.querySelector("video");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 32;
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0, 32, 32);
    const pixels = context.getImageData(0, 0, 32, 32).data, sum = [0, 0, 0];
    for (let i = 0; i < pixels.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += pixels[i + c];
    return sum.map((value) => value / 1024);
}"""


class Browsers:
    """Each is launched when it is first asked for. `close` ends them all."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._launched: dict[Name, Browser] = {}

    def get(self, name: Name) -> Browser:
        """Skips the test if there is no such browser."""
        if name not in self._launched:
            self._launched[name] = LAUNCHERS[name](self._playwright)
        return self._launched[name]

    def close(self) -> None:
        for browser in self._launched.values():
            browser.close()


@contextlib.contextmanager
def browsers() -> Iterator[Browsers]:
    """Chromium and Firefox."""
    with sync_playwright() as playwright, contextlib.closing(Browsers(playwright)) as browsers:
        yield browsers


def launch_chromium(kind: BrowserType, *flags: str) -> Browser:
    """One with flags beyond the usual ones."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), kind.executable_path)
    if not os.path.exists(found):
        pytest.skip("there is no Chromium: neither the system's (package chromium) nor playwright's")
    return kind.launch(executable_path=found, args=[*FLAGS, *flags])


def _chromium(playwright: Playwright) -> Browser:
    return launch_chromium(playwright.chromium)


def launch_firefox(kind: BrowserType, **preferences: str | bool) -> Browser:
    """As its makers build it, driven by WebDriver BiDi: playwright's own Firefox is a patched one."""
    found = next(filter(None, map(shutil.which, FIREFOX)), None)
    if found is None:
        pytest.skip("there is no Firefox (package firefox-esr)")
    return kind.launch(executable_path=found, channel="moz-firefox", firefox_user_prefs=dict(preferences))


def _firefox(playwright: Playwright) -> Browser:
    return launch_firefox(playwright.firefox)


def launch_without_udp(kind: BrowserType) -> Browser:
    """A browser of this kind for which no UDP passes."""
    if kind.name == "firefox":
        return launch_firefox(kind, **NO_UDP_PREFERENCES)
    return launch_chromium(kind, *NO_UDP_FLAGS)


LAUNCHERS: Mapping[Name, Callable[[Playwright], Browser]] = {"chromium": _chromium, "firefox": _firefox}
IN_BOTH = pytest.mark.parametrize(
    "browser", ["chromium", pytest.param("firefox", marks=pytest.mark.slow)], indirect=True
)
"""Marks a test that uses the fixture `browser`, or `page`. Firefox takes seconds to start, so `make slow` opens it."""


class Visit:
    """An open page, its requests and its errors."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda entry: self.complaints.append(entry.text) if entry.type == "error" else None)

    def status(self) -> str:
        return self.page.inner_text("#pp1-status")

    def wait_status(self, word: str, seconds: float = WAIT_S) -> None:
        """ "Live" is also "Live · TCP": on a busy machine the page may take the WebSocket before WebRTC is up."""
        words = [word, OVER_TCP] if word == "Live" else [word]
        self._wait_one_of(words, seconds)

    def wait_webrtc(self) -> None:
        self._wait_one_of(["Live"], WAIT_S)

    def _wait_one_of(self, words: list[str], seconds: float) -> None:
        check = "words => words.includes(document.querySelector('#pp1-status span')?.textContent)"
        self.page.wait_for_function(check, arg=words, timeout=seconds * 1000)

    def wait_playing(self, seconds: float = WAIT_S) -> None:
        """Wait until the video has shown a few frames. (Its clock advances even without frames.)"""
        end_s = time.monotonic() + seconds
        while not self.page.evaluate(SHOWS_FRAMES):  # `wait_for_function` takes any promise for a yes
            said = self.page.inner_text("body")[:200]
            assert time.monotonic() < end_s, f"nothing plays: {said!r}, {self.complaints}, {self.requests[-8:]}"
            time.sleep(0.02)

    def mean_colour(self) -> list[float]:
        """Red, green, blue from 0 to 255, over the whole frame."""
        return self.page.evaluate(MEAN_COLOUR)

    def wait_colour(self, test: str, seconds: float = WAIT_S) -> None:
        """test: a JavaScript expression of r, g and b."""
        check = f"() => {{ const [r, g, b] = ({MEAN_COLOUR})(); return {test}; }}"
        self.page.wait_for_function(check, timeout=seconds * 1000, polling=40)

    def receipt(self, step: str) -> str:
        return self.page.inner_text(f'#pp1-receipt [data-step="{step}"].done span')


def new_context(browser: Browser, width: int = WIDTH, height: int = HEIGHT, scheme: Scheme = "light") -> BrowserContext:
    viewport: ViewportSize = {"width": width, "height": height}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, ignore_https_errors=True)
    context.set_default_timeout(WAIT_S * 1000)
    return context


def open_page(context: BrowserContext, url: str) -> Visit:
    opened = Visit(context.new_page())
    opened.page.goto(url)
    return opened


def visit(browser: Browser, url: str, width: int = WIDTH, height: int = HEIGHT, scheme: Scheme = "light") -> Visit:
    """A page in its own context, as from another computer."""
    return open_page(new_context(browser, width, height, scheme), url)
