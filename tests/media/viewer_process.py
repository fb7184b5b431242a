"""A WHEP viewer as its own process, to be killed: `python -m tests.media.viewer_process`.

One JSON string a line: it writes its offer, reads the answer, and then writes the number of each frame.
"""

import asyncio
import json
import sys

from tests.media.numbered_frames import read_number
from tests.media.whep_client import Client

POLL_S = 0.02


def say(value) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def watch() -> None:
    client = Client(read_number)
    say(await client.offer())
    await client.take(json.loads(await asyncio.to_thread(sys.stdin.readline)))
    told = 0
    while True:
        await asyncio.sleep(POLL_S)
        for number in client.numbers[told:]:
            say(number)
        told = len(client.numbers)


if __name__ == "__main__":
    asyncio.run(watch())
