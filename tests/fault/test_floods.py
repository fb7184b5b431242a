"""Too much of what is allowed: told so in one line with a time to come again, counted, and nobody else notices."""

import asyncio
from dataclasses import replace
from statistics import median

import httpx
import pytest
from starlette.testclient import TestClient

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.media.broadcaster import Broadcaster
from pp1_orchestrator.media.media_settings import PeerLimits, VideoSettings
from pp1_orchestrator.media.sdp import CandidatePolicy
from pp1_orchestrator.media.whep import WhepPeers
from pp1_orchestrator.server.rate_limit import Buckets, client_of
from pp1_orchestrator.server.server_settings import Limits, Rate
from tests.fault.sdp_offers import seeds
from tests.fault.test_signalling import listening
from tests.media.numbered_frames import SIZE, Counted
from tests.server.conftest import LIMITS, Listening, build
from tests.server.fakes import CountedPeers
from tests.server.test_auth import BEARER, COOKIE, TOKEN
from tests.timing import stopwatch

HOME = "http://127.0.0.1:7860"
SELDOM = Rate(0.001, 3)
FLOOD = 1000
WAIT_S = 120
REFUSED_S = 0.1
"""On an idle machine."""


def browse(parts, address="127.0.0.1") -> TestClient:
    return TestClient(parts.app, base_url=HOME, client=(address, 5000))


def count(parts, limit) -> float | None:
    return parts.metrics.registry.get_sample_value("pp1_requests_limited_total", {"limit": limit})


class TestBuckets:
    def test_a_burst_is_free_and_then_the_rate_holds(self):
        now = 100.0
        buckets = Buckets(Rate(2, 3), 8, lambda: now)
        assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
        now += 0.25
        assert buckets.wait_s("a") == 0.25
        now += 0.25
        assert [buckets.wait_s("a"), buckets.wait_s("a")] == [0, 0.5]
        now += 3600
        assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]

    def test_a_look_takes_nothing(self):
        buckets = Buckets(Rate(2, 1), 8, lambda: 100.0)
        assert [buckets.would_wait_s("a"), buckets.would_wait_s("a"), len(buckets._tokens)] == [0, 0, 0]
        assert [buckets.wait_s("a"), buckets.would_wait_s("a"), buckets.wait_s("a")] == [0, 0.5, 0.5]

    def test_clients_do_not_pay_for_each_other(self):
        buckets = Buckets(Rate(1, 1), 8, lambda: 0.0)
        assert [buckets.wait_s(client) for client in "aabb"] == [0, 1, 0, 1]

    def test_so_many_clients_are_remembered_and_the_busy_ones_longest(self):
        buckets = Buckets(Rate(1, 1), 100, lambda: 0.0)
        for number in range(10_000):
            buckets.wait_s(f"stranger {number}")
            assert (buckets.wait_s("busy") == 0) is (number == 0)
        assert len(buckets._tokens) == 100


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.168.1.4", "192.168.1.4"),
        ("2a00:1450:4001:80b::200e", "2a00:1450:4001:80b::/64"),
        ("2a00:1450:4001:80b:1:2:3:4", "2a00:1450:4001:80b::/64"),
        ("::ffff:192.168.1.4", "192.168.1.4"),
        ("::1", "::1"),  # a proxy there speaks for many, as one at 127.0.0.1
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_client_is_counted_by_its_network(host, client):
    assert client_of({"client": (host, 1)}) == client


def test_a_connection_without_an_address_has_a_name_too():
    assert client_of({"client": None}) == client_of({}) == ""


def test_a_flood_of_prompts_is_refused_from_where_it_comes_and_others_are_heard():
    parts = build(limits=replace(LIMITS, prompt_updates=SELDOM))
    flooding, other = browse(parts, "10.0.0.1"), browse(parts, "10.0.0.2")
    answers = [flooding.post("/api/prompt", json={"prompt": f"prompt {n}"}) for n in range(FLOOD)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * (FLOOD - 3)
    assert answers[-1].json() == {"error": "too many prompts: at most 0.001 a second from one address"}
    assert 0 < int(answers[-1].headers["retry-after"]) <= 1000
    assert count(parts, "prompts") == FLOOD - 3
    assert other.post("/api/prompt", json={"prompt": "mine"}).status_code == 200
    assert [update.prompt for update in parts.stream.updates] == ["prompt 0", "prompt 1", "prompt 2", "mine"]
    assert flooding.get("/api/state").status_code == 200


@pytest.mark.parametrize(
    ("limit", "kind", "method", "path", "body"),
    [
        ("offers", "offers", "POST", "/whep", {"content": "v=0", "headers": {"Content-Type": "application/sdp"}}),
        ("changes", "changes", "POST", "/api/control", {"json": {"action": "pause"}}),
        ("changes", "changes", "POST", "/api/source", {"json": {"strength": 0.5}}),
        ("changes", "changes", "PUT", "/api/timeline", {"json": {"entries": []}}),
        ("changes", "changes", "DELETE", "/api/timeline", {}),
    ],
)
def test_every_change_has_a_rate(limit, kind, method, path, body):
    parts = build(CountedPeers(places=100), limits=replace(LIMITS, **{limit: SELDOM}))
    answers = [browse(parts).request(method, path, **body) for _ in range(5)]
    assert [answer.status_code for answer in answers][-2:] == [429, 429]
    assert all(answer.status_code < 300 for answer in answers[:3])
    assert count(parts, kind) == 2


@pytest.mark.parametrize(
    "guess",
    [
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Cookie": f"{COOKIE}=wrong"}},
        {"params": {"token": "wrong"}},
        {"headers": {"Authorization": "Bearer wrong", "Cookie": f"{COOKIE}=right"}},
    ],
    ids=["bearer", "cookie", "address", "a bearer beside a cookie that is right"],
)
def test_tokens_can_not_be_guessed_at_any_speed(guess):
    """Even the right one is not told from others after too many that were wrong; nobody else notices."""
    parts = build(token=TOKEN, view_token="looks", limits=replace(LIMITS, guesses=SELDOM))
    guessing, other = browse(parts, "10.0.0.1"), browse(parts, "10.0.0.2")
    welcome = browse(parts, "10.0.0.3").get("/", params={"token": "looks"}, follow_redirects=False)
    headers = {k: v.replace("=right", f"={welcome.cookies[COOKIE]}") for k, v in guess.get("headers", {}).items()}
    answers = [guessing.get("/", params=guess.get("params"), headers=headers) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 3 + [429] * 2
    assert answers[-1].json() == {"error": "too many wrong tokens: at most 0.001 a second from one address"}
    assert 0 < int(answers[-1].headers["retry-after"]) <= 1000
    assert guessing.get("/api/state", headers=BEARER).status_code == 429
    assert guessing.get("/healthz").status_code == 200
    for _ in range(5):
        assert other.get("/api/state").status_code == 401  # it guesses nothing
    assert other.get("/api/state", headers=BEARER).status_code == 200


def test_a_refused_request_is_not_read():
    """Its body, which is too long, is not what it is refused for."""
    parts = build(limits=replace(LIMITS, prompt_updates=Rate(0.001, 1)))
    answers = [browse(parts).post("/api/prompt", content=b"x" * LIMITS.body_bytes * 2) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [413, 429]


def test_the_shipped_rates_are_the_documented_ones():
    limits = Limits()
    rates = (limits.offers, limits.prompt_updates, limits.changes, limits.guesses)
    assert [rate.per_s for rate in rates] == [2, 2, 5, 5]


async def refusal(peers: WhepPeers, address: str) -> str:
    with pytest.raises(RequestError) as refused:
        await peers.offer(seeds()[0], address)
    assert refused.value.status == 503
    return str(refused.value)


def test_one_viewer_too_many_is_told_so_and_a_place_that_is_left_is_free_again():
    async def scene():
        async with listening(PeerLimits(viewers=2, yield_s=WAIT_S)) as peers:
            first, _ = await peers.offer(seeds()[0])
            await peers.offer(seeds()[0])
            assert await refusal(peers, "127.0.0.1") == "all 2 viewer places are taken"
            assert peers.count == 2
            await peers.close(first)
            await peers.offer(seeds()[0])
            return peers

    assert asyncio.run(scene()).count == 0


def test_one_viewer_too_many_is_told_so_at_once():
    """By the whole server, with its own peers."""
    figures = Counted()
    broadcaster = Broadcaster(VideoSettings(SIZE, SIZE, 24), figures)
    peers = WhepPeers(broadcaster, "vp8", PeerLimits(viewers=1, yield_s=WAIT_S), CandidatePolicy("127.0.0.1"), figures)
    server = Listening(build(peers).app)
    took_s = []
    with httpx.Client(base_url=server.url, headers={"Content-Type": "application/sdp"}, timeout=120) as client:
        assert client.post("/whep", content=seeds()[0]).status_code == 201
        for _ in range(7):
            with stopwatch() as watch:
                answer = client.post("/whep", content=seeds()[0])
            took_s.append(watch.seconds / watch.scale)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert answer.json() == {"error": "all 1 viewer places are taken"}
    assert server.stop()
    assert median(took_s) <= REFUSED_S


def test_no_address_takes_all_places():
    figures = Counted()

    async def scene():
        async with listening(PeerLimits(viewers=8, viewers_per_address=2, yield_s=WAIT_S), figures) as peers:
            crowd = [(await peers.offer(seeds()[0], "10.0.0.1"))[0] for _ in range(2)]
            assert await refusal(peers, "10.0.0.1") == "all 2 viewer places of one address are taken"
            with pytest.raises(RequestError, match="must start with v="):
                await peers.offer("nothing", "10.0.0.2")
            for _ in range(2):
                await peers.offer(seeds()[0], "10.0.0.2")
            for _ in range(3):
                await peers.offer(seeds()[0])
            await peers.close(crowd[0])
            await peers.offer(seeds()[0], "10.0.0.1")
            await peers.close_all()
            return peers._pending, peers._viewers

    assert asyncio.run(scene()) == ([], {})
    assert figures.limits == ["address"]


def test_too_many_offers_at_once_are_told_to_come_again():
    limits = PeerLimits(offers_pending=3, offers_waiting=2)

    async def scene():
        async with listening(limits) as peers:
            outcomes = await asyncio.gather(*(peers.offer(seeds()[0]) for _ in range(9)), return_exceptions=True)
            return [str(outcome) for outcome in outcomes if isinstance(outcome, RequestError)]

    assert asyncio.run(scene()) == ["2 offers are waiting; try again"] * 4
