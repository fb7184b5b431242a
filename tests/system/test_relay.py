"""The program with a TURN server: its media process has relays there, and a viewer that only a relay reaches plays."""

import asyncio
import os
from pathlib import Path

import httpx
import pytest

from pp1_orchestrator.server.tls import make_pair
from tests.documented import ROOT
from tests.media.turn_server import CREDENTIAL, turn_server
from tests.media.whep_client import Client
from tests.system.program import running

OFFER = {"Content-Type": "application/sdp"}


@pytest.fixture(params=[False, True], ids=["turn", "turns"])
def pair(request, tmp_path, monkeypatch) -> tuple[Path, Path] | None:
    """Of a TURN server with TLS, which the program and the viewer are made to trust."""
    if not request.param:
        return None
    pair = make_pair("127.0.0.1", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    return pair


@pytest.mark.slow
def test_a_viewer_that_only_a_relay_reaches_plays_and_is_told_of_the_server(tmp_path, pair):
    async def watch(url: str) -> tuple[str, list[str]]:
        client = Client(lambda frame: frame.shape, turn=server)
        offer = await client.offer()
        answer = await asyncio.to_thread(httpx.post, f"{url}/whep", content=offer, headers=OFFER, timeout=120)
        assert answer.status_code == 201, answer.text
        await client.take(answer.text)
        await client.wait_frames(3)
        await client.close()
        return answer.text, answer.headers.get_list("link")

    with turn_server(pair=pair) as server:
        user = f"username: {server.username}, credential: {server.credential}"
        setting = f"serving.ice_servers=[{{urls: '{server.urls[0]}', {user}}}]"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with running("layout=inline", setting, out=tmp_path / "out", environment=environment) as program:
            program.wait_until_ready()
            answer, links = asyncio.run(watch(f"http://127.0.0.1:{program.port}"))
            shown = [program.get(path)[1] for path in ("/api/state", "/metrics", "/api/recording")]
    assert "typ relay" in answer
    assert links == server.links()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and ".hydra" not in path.parts]
    assert not [text for text in shown if CREDENTIAL in text]
    assert not [path for path in files if CREDENTIAL.encode() in path.read_bytes()]
