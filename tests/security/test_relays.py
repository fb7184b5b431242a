"""Media through a real TURN server: who gets it, what a wrong or dead server costs, and what it is not used for."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pp1_orchestrator.media.ice_servers import IceServer
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.server.tls import make_pair
from tests.media.numbered_frames import read_number
from tests.media.test_whep import play, steps
from tests.media.turn_server import turn_server
from tests.media.whep_client import Client
from tests.security.attacked_stream import server_side
from tests.security.test_candidates import (
    CHECKS,
    OWN,
    QUIET_S,
    AsOnAnotherMachine,
    candidate,
    listen,
    offer_with,
    peers_at,
)
from tests.timing import stopwatch

FRAMES = 20
ELSEWHERE = OWN[0] if OWN else "127.0.0.1"
"""Of this machine, and another one's for `AsOnAnotherMachine`."""
DEAD_S = 3
"""From a viewer's offer to its first frame where a server does not answer; on an idle machine."""
needs_an_address = pytest.mark.skipif(not OWN, reason="this machine has no address but loopback")


@pytest.fixture(params=["udp", "tcp", "tls"])
def turn(request, tmp_path, monkeypatch) -> Iterator[IceServer]:
    if request.param == "tls":
        pair = make_pair(ELSEWHERE, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
        opened = turn_server(ELSEWHERE, pair=pair)
    else:
        opened = turn_server(ELSEWHERE, request.param)
    with opened as server:
        yield server


async def watch_through(stream, server: IceServer):
    """A viewer that is only reached through the server, its id and the answer it got."""
    client = Client(read_number, turn=server)
    viewer_id, answer = await stream.peers.offer(await client.offer())
    await client.take(answer)
    return client, viewer_id, answer


@needs_an_address
def test_a_viewer_behind_a_relay_gets_every_frame_from_a_server_on_loopback(turn):
    """Its relay is on another machine. Nothing goes there directly, and nothing that comes from there is heard."""

    async def scene(stream):
        client, viewer_id, answer = await watch_through(stream, turn)
        await client.wait_frames(FRAMES)
        used = next(iter(server_side(stream, viewer_id)[2]._nominated.values()))
        await client.close()
        return client.numbers, answer, used.local_candidate.type

    numbers, answer, used = play(scene, policy=AsOnAnotherMachine("127.0.0.1", (turn,)))
    assert steps(numbers).count(1) == len(numbers) - 1, numbers
    assert f"{ELSEWHERE} " in next(line for line in answer.splitlines() if "typ relay" in line)
    assert used == "relay"


@needs_an_address
@pytest.mark.parametrize("credential", [None, "a wrong one"])
def test_without_the_right_credential_nothing_passes_a_relay_and_others_play(credential, caplog):
    """None: the server of the stream has no TURN server at all."""

    async def scene(stream, server):
        relayed, viewer_id, answer = await watch_through(stream, server)
        direct, _ = await stream.join()
        await direct.wait_frames(FRAMES)
        await stream.until(lambda: viewer_id not in stream.peers._viewers)
        await direct.close()
        await relayed.close()
        return relayed.numbers, answer

    with turn_server(ELSEWHERE) as server:
        wrong = (replace(server, credential=credential),) if credential else ()
        policy = AsOnAnotherMachine("127.0.0.1", wrong)
        numbers, answer = play(lambda stream: scene(stream, server), policy=policy)
    assert numbers == []
    assert "typ relay" not in answer
    complaints = [record.getMessage() for record in caplog.records if "no relay" in record.getMessage()]
    assert len(complaints) == (2 if credential else 0)
    assert all("401" in line and "a wrong one" not in line for line in complaints)


@needs_an_address
def test_a_server_whose_certificate_nobody_trusts_gives_no_relay(tmp_path, caplog):
    async def scene(stream):
        direct, viewer_id = await stream.join()
        await direct.wait_frames(FRAMES)
        await direct.close()
        return server_side(stream, viewer_id)[2].local_candidates

    with turn_server(ELSEWHERE, pair=make_pair(ELSEWHERE, tmp_path)) as server:
        candidates = play(scene, policy=AsOnAnotherMachine("127.0.0.1", (server,)))
    assert "relay" not in {each.type for each in candidates}
    (line,) = [record.getMessage() for record in caplog.records if "no relay" in record.getMessage()]
    assert "certificate verify failed" in line
    assert line.startswith("turns:")
    assert "\n" not in line


def test_a_server_that_does_not_answer_costs_a_viewer_little():
    async def scene(stream):
        with stopwatch() as watch:
            client, _ = await stream.join()
            await client.wait_frames(1)
        await client.close()
        return watch

    silent = listen_in_vain()
    port = silent.getsockname()[1]
    urls = f"turn:127.0.0.1:{port}", f"stun:127.0.0.1:{port}"
    dead = (IceServer(urls, "u", "c"), IceServer((f"turn:127.0.0.1:{port}?transport=tcp",), "u", "c"))
    try:
        assert play(scene, policy=CandidatePolicy("127.0.0.1", dead)).within(DEAD_S)
        assert silent.recv(2048)[:2] == b"\x00\x03"  # it was asked for a relay
    finally:
        silent.close()


def listen_in_vain() -> socket.socket:
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    silent.settimeout(10)
    return silent


@needs_an_address
def test_a_stun_server_tells_an_open_bind_its_address_and_is_not_asked_on_loopback():
    async def answer(policy: CandidatePolicy) -> str:
        peers = peers_at(policy)
        _, answer = await peers.offer(offer_with())
        await peers.close_all()
        return answer

    with turn_server(ELSEWHERE) as server:
        stun = (IceServer((server.urls[0].replace("turn:", "stun:").partition("?")[0],)),)
        assert f"{ELSEWHERE} " in next(
            line for line in asyncio.run(answer(CandidatePolicy("0.0.0.0", stun))).splitlines() if "typ srflx" in line
        )
        assert "typ srflx" not in asyncio.run(answer(CandidatePolicy("127.0.0.1", stun)))


@needs_an_address
def test_a_relay_is_not_made_to_send_to_private_addresses():
    """It would: the canary at the relay's own address does hear from it."""

    async def scene(server: IceServer) -> int:
        peers = peers_at(CandidatePolicy("0.0.0.0", (server,)))
        inner, inner_port, first = await listen("127.0.0.1")
        outer, outer_port, second = await listen(ELSEWHERE)
        await peers.offer(offer_with(candidate("127.0.0.1", inner_port), candidate(ELSEWHERE, outer_port)))
        async with asyncio.timeout(120):
            while outer.count < CHECKS:
                await asyncio.sleep(0.02)
        await asyncio.sleep(QUIET_S)
        await peers.close_all()
        for transport in (first, second):
            transport.close()
        return inner.count

    with turn_server(ELSEWHERE) as server:
        assert asyncio.run(scene(server)) == 0


def test_what_goes_through_a_relay_goes_to_public_addresses_and_to_other_relays_there():
    through = CandidatePolicy("127.0.0.1", (IceServer(("turn:192.0.2.1",), "u", "c"),)).for_viewer()
    private = ["10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "fe80::1", "::1", "224.0.0.1", "a.local"]
    assert not any(through.accepts(host, "192.168.1.9") for host in private)
    assert through.accepts("192.168.1.9", "192.168.1.9")
    assert through.accepts("8.8.8.8", "192.168.1.9")
    assert not through.accepts("8.8.8.8")
    assert not through.hears("8.8.8.8")
    assert through.keeps("8.8.8.8")
    assert not CandidatePolicy("127.0.0.1").for_viewer().keeps("8.8.8.8")
