"""Clips over HTTP: started, stopped, listed and downloaded, whole or in part."""

import io

import av


def act(client, action):
    return client.post("/api/clips", json={"action": action})


def test_a_clip_is_recorded_and_fetched(client, parts):
    heard = parts.events.subscribe(lambda: None)
    begun = act(client, "start").json()
    assert (begun["id"], begun["state"]) == ("c1", "recording")
    assert client.get("/api/clips/c1").status_code == 404
    assert client.get("/api/state").json()["clip"]["state"] == "recording"
    done = act(client, "stop").json()
    assert (done["state"], done["ended"], done["frames"]) == ("ready", "asked", 1)
    assert client.get("/api/clips").json() == {"clips": [done]}
    file = client.get("/api/clips/c1")
    assert (file.status_code, file.headers["content-type"]) == (200, "video/mp4")
    assert 'filename="pp1-c1.mp4"' in file.headers["content-disposition"]
    with av.open(io.BytesIO(file.content), "r") as container:
        assert len(list(container.decode(video=0))) == 1
    part = client.get("/api/clips/c1", headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, file.content[:100])
    assert [(event["clip"], event["state"]) for event in heard.drain()] == [("c1", "recording"), ("c1", "ready")]


def test_a_conflict_is_one_line_with_the_reason(client):
    refused = act(client, "stop")
    assert (refused.status_code, refused.json()) == (409, {"error": "no clip is being recorded"})
    act(client, "start")
    refused = act(client, "start")
    assert (refused.status_code, refused.json()) == (409, {"error": "clip c1 is being recorded; stop it first"})
    assert act(client, "stop").status_code == 200
    assert act(client, "rewind").status_code == 422
    assert client.get("/api/clips/..%2F..%2Fetc%2Fpasswd").status_code == 404
