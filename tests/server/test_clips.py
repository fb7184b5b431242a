"""Clips over HTTP: started, stopped, listed and downloaded, whole or in part."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import av
from starlette.testclient import TestClient

from pp1_orchestrator.server.routes.clip_routes import OpenFileResponse


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


def test_a_clip_that_is_deleted_meanwhile_is_whole_or_not_there(parts):
    """Clips are made and dropped as fast as possible while others fetch them."""
    parts.clips.start()
    name, failures, sizes = parts.clips.stop().id, [], set()
    ended = threading.Event()

    def fetch() -> None:
        browser = TestClient(parts.app, base_url="http://127.0.0.1:7860")
        while not ended.is_set():
            for clip in parts.clips.clips():
                answer = browser.get(f"/api/clips/{clip.id}")
                if answer.status_code == 200:
                    sizes.add(len(answer.content) == int(answer.headers["content-length"]) > 0)
                elif answer.status_code != 404:
                    failures.append(answer.status_code)

    with ThreadPoolExecutor(4) as threads:
        tasks = [threads.submit(fetch) for _ in range(4)]
        for _ in range(40):
            parts.clips.start()
            name = parts.clips.stop().id
        ended.set()
        for task in tasks:
            task.result()
    assert (failures, sizes) == ([], {True})
    assert parts.clips.file(name) is not None


def test_an_open_clip_is_sent_to_its_end(parts, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"0123456789" * 100_000)
    file = path.open("rb")
    path.unlink()
    app = TestClient(OpenFileResponse(file, media_type="video/mp4"))
    assert app.get("/").content == b"0123456789" * 100_000
    assert file.closed
