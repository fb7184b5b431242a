"""What the server and the media parts log names no secret: no token, no prompt, no ICE password, no fingerprint."""

import asyncio
import logging

import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.errors import RequestError
from tests.fault.sdp_offers import mutants, seeds
from tests.fault.test_signalling import listening
from tests.server.conftest import build
from tests.server.test_auth import BEARER, HOME, TOKEN
from tests.system.log_privacy import LogPrivacy

PROMPT = "a very private unicorn"


@pytest.fixture
def ours(caplog):
    """The text of everything that our own loggers say, at the most talkative level, traces of errors included."""
    caplog.set_level(logging.DEBUG, logger="pp1_orchestrator")
    formatter = logging.Formatter("%(name)s %(message)s")
    return lambda: "\n".join(formatter.format(r) for r in caplog.records if r.name.startswith("pp1_orchestrator"))


def test_no_token_and_no_prompt(ours):
    parts = build(token=TOKEN)
    client = TestClient(parts.app, base_url=HOME, raise_server_exceptions=False, follow_redirects=False)
    client.get("/", params={"token": TOKEN})
    client.post("/api/prompt", json={"prompt": PROMPT})
    for body in ({"prompt": PROMPT}, {"prompt": PROMPT, "cut": PROMPT}, {"prompt": "broken"}, {"prompt": PROMPT * 200}):
        client.post("/api/prompt", json=body, headers=BEARER)
        client.post("/api/control", json=body, headers=BEARER)
    said = ours()
    assert "/api/prompt failed" in said  # the broken one was
    assert TOKEN not in said
    assert PROMPT not in said


def test_what_was_given_to_a_program_is_found_in_a_log():
    """The check that every started program's logs pass at its end can fail."""
    private = LogPrivacy()
    private.note_arguments(["serving.token=a-token-of-a-test", "run.prompt='a quiet red square'", "seed=7"])
    private.note_body({"prompts": [{"text": "a loud green circle", "weight": 1}], "blend": "linear"})
    private.note("short", None)
    assert private.found_in("short seed=7 a-token") == []
    log = "x a-token-of-a-test y a quiet red square z a loud green circle"
    assert private.found_in(log) == ["a loud green circle", "a quiet red square", "a-token-of-a-test"]


def test_no_password_and_no_fingerprint_of_a_viewer(ours):
    secrets = [
        line.split(":", 1)[1]
        for offer in seeds()
        for line in offer.splitlines()
        if line.startswith(("a=ice-pwd:", "a=fingerprint:"))
    ]

    async def scene():
        async with listening() as peers:
            answers = [(await peers.offer(offer))[1] for offer in seeds()]
            for offer in mutants(300, seed=2):
                try:
                    viewer_id, _ = await peers.offer(offer)
                except RequestError:
                    continue
                await peers.close(viewer_id)
            return answers

    for answer in asyncio.run(scene()):
        secrets += [line.split(":", 1)[1] for line in answer.splitlines() if line.startswith("a=ice-pwd:")]
    said = ours()
    assert "an offer was refused" in said
    assert len(secrets) >= 6
    assert [secret for secret in secrets if secret in said] == []
