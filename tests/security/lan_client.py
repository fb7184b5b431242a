"""A client on another machine: `python -m tests.security.lan_client ADDRESS OWN PORT TOKEN OTHER_PORTS`.

Writes one JSON line: the statuses that it gets with and without the token, and which other ports let it in. Then it
watches, and writes a line with the time of each frame that it gets, until it is killed.
"""

import asyncio
import json
import socket
import sys
import time
import urllib.error
import urllib.request

from tests.media import whep_client

CONNECT_S, WAIT_S = 5, 120


def status(url: str, token: str | None = None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=WAIT_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def lets_in(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def tell(said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


async def watch(url: str, token: str) -> None:
    def shown(frame: object) -> float:
        tell({"frame_s": time.monotonic()})
        return time.monotonic()

    def ask(offer: str) -> str:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/whep", offer.encode(), headers)) as answer:
            return answer.read().decode()

    client = whep_client.Client(shown)
    await client.take(ask(await client.offer()))
    await asyncio.Event().wait()


def main() -> None:
    address, own, port, token, others = sys.argv[1:]
    url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    tell(
        {
            "statuses": [status(f"{url}/api/state"), status(f"{url}/api/state", token)],
            "open": [int(other) for other in others.split(",") if lets_in(address, int(other))],
        }
    )
    whep_client.LOOPBACK[:] = [own]
    asyncio.run(watch(url, token))


if __name__ == "__main__":
    main()
