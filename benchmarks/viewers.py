"""What viewers cost the server and each other.

    python -m benchmarks.viewers fanout --viewers 8 --seconds 20      # CPU and frame rates, for one and for many
    python -m benchmarks.viewers fanout --transport websocket         # the same over TCP
    python -m benchmarks.viewers stalled --viewers 8 layout=inline    # beside a viewer that can't keep up
    python -m benchmarks.viewers idle --viewers 4 layout=inline       # open pages while the stream is paused

The program runs as a user runs it. Viewers are WHEP clients in another process, so that their decoding is not counted,
or pages in a Chromium. `stalled` prints medians of some rounds, and how many frames the stream made meanwhile: a busy
machine, or a browser on it, slows the stream itself.
"""

import argparse
import asyncio
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

import psutil
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from playwright.sync_api import Browser, Page
from websockets.asyncio.client import connect

from benchmarks.live_program import BASE, chromium, running_program
from benchmarks.machine import describe
from pp1_orchestrator.media.aiortc_patches import offer_addresses
from pp1_orchestrator.media_process.media_connection import MODULE

JOIN_S = 4.0
"""Viewers get this long to connect before the measurement begins."""
REPORT_EVERY = 4
"""Packets, as the page does over TCP."""
SETTLE_S = 5.0
"""Pages get this long after loading, so that an open page is measured and not its opening."""
STATUS = "document.querySelector('#pp1-status span')?.textContent === '{}'"
HAS_STATE = "/\\d/.test(document.querySelector('[data-figure=chunk]')?.textContent)"
Guest = Callable[[], AbstractContextManager[None]]


def cpu_percent(program: psutil.Process, seconds: float) -> float:
    """Per cent of a core that rank 0 and its media process use during the next seconds."""
    start, before = time.monotonic(), _cpu_s(program)
    time.sleep(seconds)
    return 100 * (_cpu_s(program) - before) / (time.monotonic() - start)


def _cpu_s(program: psutil.Process) -> float:
    media = [child for child in program.children() if MODULE in child.cmdline()]
    return sum(times.user + times.system for times in (process.cpu_times() for process in [program, *media]))


def start_clients(count: int, seconds: float, transport: str = "webrtc") -> subprocess.Popen[str]:
    """Clients in another process, which prints their frames per second as JSON."""
    options = ["--viewers", str(count), "--seconds", str(seconds), "--transport", transport]
    command = [sys.executable, "-m", "benchmarks.viewers", "clients", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def run_clients(count: int, seconds: float, transport: str) -> list[float]:
    watch = {"webrtc": _watch, "websocket": _watch_over_tcp}[transport]
    return await asyncio.gather(*(watch(seconds) for _ in range(count)))


async def _watch_over_tcp(seconds: float) -> float:
    """Like `_watch`. Nothing is decoded."""
    async with connect(f"{BASE.replace('http', 'ws')}/ws/stream", compression=None) as stream:
        await stream.recv()
        frames, start = 0, time.monotonic()
        while time.monotonic() - start < seconds:
            packet = await stream.recv(decode=False)
            frames += 1
            if frames % REPORT_EVERY == 0:
                await stream.send(packet[4:8])
    return frames / (time.monotonic() - start)


async def _watch(seconds: float) -> float:
    """One viewer's frames per second, over `seconds` after its first frame."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
    peer.on("track", tracks.put_nowait)
    offer_addresses(peer.addTransceiver("video", direction="recvonly").sender, ["127.0.0.1"])
    await peer.setLocalDescription(await peer.createOffer())
    answer = await asyncio.to_thread(_post, "/whep", peer.localDescription.sdp, "application/sdp")
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    track = await tracks.get()
    await track.recv()
    frames, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        await track.recv()
        frames += 1
    elapsed = time.monotonic() - start
    await peer.close()
    return frames / elapsed


def _post(path: str, body: str, content_type: str) -> str:
    request = urllib.request.Request(BASE + path, body.encode(), {"content-type": content_type}, method="POST")
    with urllib.request.urlopen(request) as reply:
        return reply.read().decode()


def fanout(program: psutil.Process, viewers: int, seconds: float, transport: str) -> list[str]:
    rows = [
        "| viewers | least FPS | mean FPS | CPU of rank 0 and its media process, % of a core |",
        "|---|---|---|---|",
    ]
    for count in (1, viewers):
        clients = start_clients(count, seconds + JOIN_S, transport)
        time.sleep(JOIN_S)
        percent = cpu_percent(program, seconds)
        fps = json.loads(clients.communicate()[0])
        rows.append(f"| {count} | {min(fps):.1f} | {sum(fps) / len(fps):.1f} | {percent:.0f} |")
    return rows


@contextlib.contextmanager
def client(seconds: float, stopped: bool) -> Iterator[None]:
    """One WHEP client, as it should be or stopped by a signal."""
    process = start_clients(1, seconds)
    time.sleep(JOIN_S)
    if stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def tab(browser: Browser, stall: Callable[[Page], None]) -> Iterator[None]:
    """The page, stalled as soon as it plays."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(BASE)
        page.wait_for_function(STATUS.format("Live"))
        stall(page)
        yield


def freeze(page: Page) -> None:
    """As a browser does with a tab that has been hidden for a long time."""
    page.context.new_cdp_session(page).send("Page.setWebLifecycleState", {"state": "frozen"})


def hang(page: Page) -> None:
    """The page's main thread waits in a dialog that nobody closes."""
    page.on("dialog", lambda dialog: None)
    page.evaluate("setTimeout(() => alert('nobody will see this'))")


def frames_made() -> float:
    """Frames that the stream has made so far."""
    with urllib.request.urlopen(f"{BASE}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("pp1_frames_total "))


def rates(guest: Guest, others: int, seconds: float) -> tuple[float, float, float]:
    """Frames per second beside the guest: made by the stream, and the others' minimum and mean."""
    with guest():
        clients = start_clients(others, seconds)
        time.sleep(JOIN_S)
        start, before = time.monotonic(), frames_made()
        time.sleep(seconds - JOIN_S / 2)
        made = (frames_made() - before) / (time.monotonic() - start)
        fps = json.loads(clients.communicate()[0])
    return made, min(fps), sum(fps) / len(fps)


def stalled(browser: Browser, viewers: int, seconds: float, rounds: int) -> list[str]:
    """A row for each guest. Each round has all of them, so that a busy moment of the machine affects them alike."""
    lasting = 3 * JOIN_S + seconds
    guests: dict[str, Guest] = {
        "is like the others": lambda: client(lasting, stopped=False),
        "is stopped": lambda: client(lasting, stopped=True),
        "is a frozen tab": lambda: tab(browser, freeze),
        "is a hanging tab": lambda: tab(browser, hang),
    }
    found = {name: [] for name in guests}
    for _ in range(rounds):
        for name, guest in guests.items():
            found[name].append(rates(guest, viewers - 1, seconds))
    head = (
        "| one of the viewers | FPS of the stream | least FPS of the others | their mean | share of the stream's FPS |"
    )
    rows = [head, "|---|---|---|---|---|"]
    for name, measured in found.items():
        made, least, mean = (median(values) for values in zip(*measured, strict=True))
        share = median(mean / made for made, _, mean in measured)
        rows.append(f"| {name} | {made:.1f} | {least:.1f} | {mean:.1f} | {100 * share:.0f} % |")
    return rows


def cpu_with_pages(program: psutil.Process, browser: Browser, count: int, video: bool, seconds: float) -> float:
    """Per cent of a core while the pages are open. Without video, only their requests and the events are left."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            page = stack.enter_context(browser.new_context()).new_page()
            if not video:
                page.route("**/whep", lambda route: route.abort())
            page.goto(BASE)
            page.wait_for_function(STATUS.format("Paused") if video else HAS_STATE)
        time.sleep(SETTLE_S)
        return cpu_percent(program, seconds)


def idle(program: psutil.Process, browser: Browser, pages: int, seconds: float) -> list[str]:
    _post("/api/control", json.dumps({"action": "pause"}), "application/json")
    time.sleep(SETTLE_S)
    nobody = cpu_percent(program, seconds)
    quiet, whole = (cpu_with_pages(program, browser, pages, video, seconds) for video in (False, True))
    return [
        f"| {pages} open pages, stream paused | CPU of rank 0 and its media process, % of a core | per page |",
        "|---|---|---|",
        f"| none | {nobody:.1f} | |",
        f"| pages without video: state and events | {quiet:.1f} | {(quiet - nobody) / pages:.1f} |",
        f"| pages with video | {whole:.1f} | {(whole - nobody) / pages:.1f} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fanout", "stalled", "idle", "clients"])
    parser.add_argument("--viewers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--transport", choices=["webrtc", "websocket"], default="webrtc", help="of fanout")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of stalled")
    parser.add_argument("settings", nargs="*", help="of the program, as on the command line")
    options = parser.parse_args()
    if options.what == "clients":  # the other process
        sys.stdout.write(
            json.dumps(asyncio.run(run_clients(options.viewers, options.seconds, options.transport))) + "\n"
        )
        return
    heading = f"{describe()}; {options.viewers} viewers; load average before: {os.getloadavg()[0]:.1f}"
    with running_program(options.settings) as program:
        if options.what == "fanout":
            rows = fanout(program, options.viewers, options.seconds, options.transport)
        else:
            with chromium() as browser:
                if options.what == "stalled":
                    rows = stalled(browser, options.viewers, options.seconds, options.rounds)
                else:
                    rows = idle(program, browser, options.viewers, options.seconds)
    sys.stdout.write("\n".join([heading, "", *rows]) + "\n")


if __name__ == "__main__":
    main()
