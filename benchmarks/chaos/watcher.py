"""A WHEP viewer on its own thread, which notes when each frame was decoded."""

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from tests.media.whep_client import Client

FLOWING, WITHIN_S = 4, 0.9
"""This many frames within this time are a running stream. Without new frames, the last one repeats every 0.5 s."""
JOIN_S, RETRY_S = 30.0, 0.3


def _now(frame: object) -> float:
    return time.monotonic()


class Watcher:
    """frames: monotonic seconds of every decoded frame, or what `read` makes of it."""

    def __init__(self, url: str, make_client: Callable[[], Client] = lambda: Client(_now)) -> None:
        self._url, self._make_client = url, make_client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client: Client = self.run(self._join())

    @property
    def frames(self) -> list[Any]:
        return self._client.numbers

    @property
    def connected(self) -> bool:
        return self._client.state == "connected"

    def flows_since(self, since_s: float) -> float | None:
        """When the first frame of a running stream came after `since_s`, if one did."""
        frames = [at_s for at_s in self.frames if at_s > since_s]
        pairs = zip(frames, frames[FLOWING - 1 :], strict=False)
        return next((first for first, later in pairs if later - first < WITHIN_S), None)

    def vanish(self) -> None:
        """Stop sending without a word."""
        self.run(self._client.vanish())

    def close(self) -> None:
        self.run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any], limit_s: float = JOIN_S) -> Any:
        """Do something on the viewer's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(limit_s)

    async def _join(self) -> Client:
        client = self._make_client()
        await client.take(await asyncio.to_thread(self._ask, await client.offer()))
        return client

    def _ask(self, offer: str) -> str:
        request = urllib.request.Request(f"{self._url}/whep", offer.encode(), {"content-type": "application/sdp"})
        end_s = time.monotonic() + JOIN_S / 2
        while True:
            try:
                with urllib.request.urlopen(request, timeout=JOIN_S) as answer:
                    return answer.read().decode()
            except urllib.error.HTTPError as refused:
                if refused.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > end_s:
                    raise
                time.sleep(RETRY_S)  # as a page does, while a media process starts
