"""The control lease: one client holds it, events report changes, and a client that is gone loses it."""

import pytest

from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.server.control_lease import ControlLease
from pp1_orchestrator.server.schemas import LeaseParticipant
from tests.server.test_auth import all_routes

LEASE_S = 10.0


class Clock:
    """A lease with a manual clock, and the reasons of its changes."""

    def __init__(self, waiting: int = 2) -> None:
        self.now, self.reasons = 0.0, []
        tell = lambda reason, state: self.reasons.append((reason, state.holder and state.holder.name))  # noqa: E731
        self.lease = ControlLease(LEASE_S, waiting, tell, lambda: self.now)

    def holder(self) -> LeaseParticipant | None:
        return self.lease.state().holder


def test_without_a_holder_every_client_may_change_the_stream():
    clock = Clock()
    clock.lease.check(None)
    clock.lease.check("any key")
    lease = clock.lease.take(None, "Ann")
    clock.lease.check(lease.key)
    for key in (None, "any key", "\u00e9"):
        with pytest.raises(RequestError, match="Ann has control of the stream") as refused:
            clock.lease.check(key)
        assert refused.value.status == 409
    clock.lease.release(lease.key)
    clock.lease.check(None)
    assert clock.reasons == [("taken", "Ann"), ("released", None)]


def test_it_is_handed_to_the_longest_waiting_or_a_named_client():
    clock = Clock()
    ann = clock.lease.take(None, "Ann")
    with pytest.raises(RequestError, match="nobody waits for control"):
        clock.lease.hand_over(ann.key, None)
    bob, eve = clock.lease.request(None, "Bob"), clock.lease.request(None, "Eve")
    assert (bob.holds, [seat.name for seat in clock.lease.state().waiting]) == (False, ["Bob", "Eve"])
    assert clock.lease.request(bob.key, None).id == bob.id
    with pytest.raises(RequestError, match="2 clients wait for control already") as refused:
        clock.lease.request(None, None)
    assert refused.value.status == 503
    with pytest.raises(RequestError, match="only who holds control"):
        clock.lease.hand_over(bob.key, None)
    clock.lease.hand_over(ann.key, eve.id)
    assert clock.holder() == LeaseParticipant(id=eve.id, name="Eve")
    clock.lease.check(eve.key)
    with pytest.raises(RequestError, match="neither hold control nor wait"):
        clock.lease.renew(ann.key)
    clock.lease.hand_over(eve.key, None)
    assert clock.lease.renew(bob.key).holds
    assert [reason for reason, _ in clock.reasons] == ["taken", "requested", "requested", "handed over", "handed over"]


def test_a_silent_holder_loses_it_to_the_waiting_client():
    clock = Clock()
    ann, bob = clock.lease.take(None, "Ann"), clock.lease.request(None, "Bob")
    clock.now = 9.0
    clock.lease.renew(bob.key)
    clock.lease.check(ann.key)  # a change renews, too
    clock.now = 18.0
    clock.lease.renew(bob.key)
    assert clock.holder() == LeaseParticipant(id=ann.id, name="Ann")
    clock.now = 19.5
    assert clock.holder() == LeaseParticipant(id=bob.id, name="Bob")
    with pytest.raises(RequestError, match="Bob has control"):
        clock.lease.take(ann.key, "Ann")
    clock.now = 40.0
    assert clock.holder() is None
    assert clock.reasons[-2:] == [("expired", "Bob"), ("expired", None)]


def test_a_silent_waiting_client_is_dropped():
    clock = Clock()
    ann = clock.lease.take(None, None)
    bob = clock.lease.request(None, None)
    for clock.now in (6.0, 12.0):
        clock.lease.renew(ann.key)
    assert clock.lease.state().waiting == []
    with pytest.raises(RequestError, match="neither hold"):
        clock.lease.release(bob.key)


def claim(client, action, key=None, **fields):
    headers = {"PP1-Lease": key} if key else {}
    return client.post("/api/lease", json={"action": action, **fields}, headers=headers)


CHANGES = [
    (method, path)
    for method, path in all_routes()
    if method not in ("GET", "HEAD") and path.startswith("/api/") and not path.startswith("/api/lease")
]


def test_every_change_needs_the_lease_and_nothing_else_does(client, parts):
    key = claim(client, "take", name="Ann").json()["key"]
    assert len(CHANGES) == 6
    for method, path in CHANGES:
        refused = client.request(method, path, json={})
        assert (refused.status_code, refused.json()["error"].startswith("Ann has control")) == (409, True)
        assert client.request(method, path, json={}, headers={"PP1-Lease": key}).status_code in (200, 422)
    for path in ("/api/state", "/api/timeline", "/api/recording", "/api/history", "/api/clips", "/api/lease"):
        assert client.get(path).status_code == 200
    watched = client.post("/whep", content="v=0", headers={"Content-Type": "application/sdp"})
    assert (watched.status_code, client.delete(watched.headers["location"]).status_code) == (201, 200)
    assert client.post("/api/prompt", json={"prompt": "a"}, headers={"PP1-Lease": key}).status_code == 200
    assert [update.prompt for update in parts.stream.updates] == ["a"]


def test_it_passes_between_clients_and_events_report_it(client, parts):
    heard = parts.events.subscribe(lambda: None)
    ann = claim(client, "take", name="  Ann\n ").json()
    assert claim(client, "take").status_code == 409
    bob = claim(client, "request").json()
    assert (ann["name"], ann["holds"], bob["name"], bob["holds"]) == ("Ann", True, "Viewer 2", False)
    state = client.get("/api/state").json()["lease"]
    assert state == {"holder": {"id": "v1", "name": "Ann"}, "waiting": [{"id": "v2", "name": "Viewer 2"}]}
    handed = client.post("/api/lease/handover", json={"to": bob["id"]}, headers={"PP1-Lease": ann["key"]})
    assert handed.json() == {"holder": {"id": "v2", "name": "Viewer 2"}, "waiting": []}
    assert claim(client, "renew", bob["key"]).json()["holds"]
    given = client.delete("/api/lease", headers={"PP1-Lease": bob["key"]})
    assert (given.status_code, given.json()) == (200, {"holder": None, "waiting": []})
    told = [(event["reason"], event["holder"], event["waiting"]) for event in heard.drain()]
    assert told == [("taken", "v1", 0), ("requested", "v1", 1), ("handed over", "v2", 0), ("released", None, 0)]
    assert "key" not in str(state)


@pytest.mark.parametrize("name", ["", " \n", "x" * 41])
def test_a_name_is_one_short_line(client, name):
    assert claim(client, "take", name=name).status_code == 422
    assert client.get("/api/lease").json()["holder"] is None


def test_the_clients_of_an_earlier_run_are_known_by_their_keys():
    earlier = Clock()
    ann, bob = earlier.lease.take(None, "Ann"), earlier.lease.request(None, "Bob")
    known = earlier.lease.known()
    assert ann.key not in repr(known)
    clock = Clock()
    clock.lease = ControlLease(LEASE_S, 2, now=lambda: clock.now, clients=known)
    assert (clock.lease.renew(ann.key).holds, clock.lease.renew(bob.key).holds) == (True, False)
    assert clock.lease.renew(ann.key).key == ann.key
    assert clock.lease.request(None, None).id == "v3"
    clock.now = LEASE_S + 0.1  # nobody came back
    assert clock.holder() is None


def test_no_more_clients_of_an_earlier_run_are_known_than_may_wait():
    earlier = Clock(waiting=5)
    for name in ("Ann", "Bob", "Cid", "Dan"):
        earlier.lease.request(None, name)
    state = ControlLease(LEASE_S, 2, clients=earlier.lease.known()).state()
    assert [client.name for client in state.waiting] == ["Bob", "Cid"]
