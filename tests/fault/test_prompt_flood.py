"""Ten clients send prompts as fast as they can: the stream keeps its rhythm, and a prompt after them is shown soon."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter

import pytest

from pp1_orchestrator.server.server_settings import Limits
from tests.fault.event_listener import EventListener
from tests.system.program import running
from tests.timing import stopwatch

pytestmark = pytest.mark.slow
CLIENTS, PER_CLIENT_S = 10, 0.01
ROUNDS, PHASE_CHUNKS = 6, 12
ALLOWED = Limits().prompt_updates
SLOWER = 0.10
"""On an idle machine, in the round that was disturbed least: what a flood costs shows in each."""
SOON_CHUNKS = 2
CHOICES = ("layout=cpu", "layout.mesh_ranks=1", "stream.height=64", "stream.width=64", "stream.fps=48")
HEADERS = {"content-type": "application/json"}


def ask(connection, prompt) -> int:
    connection.request("POST", "/api/prompt", json.dumps({"prompt": prompt}), HEADERS)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def pass_chunks(program) -> None:
    """Wait until as many chunks have been made as a phase lasts."""
    last = program.state()["chunk"] + PHASE_CHUNKS
    program.wait_until(lambda: program.state()["chunk"] >= last)


def flood(program) -> Counter[int]:
    """A thousand prompts a second, or as many as the machine can send."""
    answers, stop = Counter(), threading.Event()

    def send(client):
        connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=120)
        for number in itertools.count():
            if stop.wait(PER_CLIENT_S):
                return connection.close()
            answers[ask(connection, f"a blue circle moving left, {client} {number}")] += 1

    threads = [threading.Thread(target=send, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    pass_chunks(program)
    stop.set()
    for thread in threads:
        thread.join()
    return answers


def show_afterwards(program, ear, number) -> int:
    """A prompt after the flood, as soon as it is taken; chunks until it is seen."""
    prompt, taken = f"a yellow star moving up, number {number}", []
    program.wait_until(lambda: taken.append(program.get("/api/prompt", {"prompt": prompt})) or taken[-1][0] == 200)
    name = json.loads(taken[-1][1])["id"]
    program.wait_until(lambda: any(event["update"] == name for event in ear.of("visible")))
    assert program.state()["prompt"] == prompt
    return next(event["latency_chunks"] for event in ear.of("visible") if event["update"] == name)


def longest(emitted, start, end) -> float:
    """The p99 of so few chunks is the longest wait for one."""
    times = [at_s for at_s in emitted if start <= at_s <= end]
    assert len(times) > 5
    return max(b - a for a, b in itertools.pairwise(times))


@pytest.fixture(scope="module")
def flooded(tmp_path_factory):
    """Quiet and flood by turns: answers, chunks until a prompt after each was seen, how much slower it was, events,
    and the time of it all."""
    out = tmp_path_factory.mktemp("flood") / "out"
    answers, latencies, phases = Counter(), [], []
    with stopwatch() as watch, running(*CHOICES, out=out) as program:
        program.wait_until_ready()
        with contextlib.closing(EventListener(program)) as ear:
            for number in range(ROUNDS):
                start = time.monotonic()
                pass_chunks(program)
                middle = time.monotonic()
                answers += flood(program)
                phases.append((start, middle, time.monotonic()))
                latencies.append(show_afterwards(program, ear, number))
            outcomes = Counter(event["event"] for event in ear.events)
        program.interrupt()
        assert program.process.wait(240) == 0, program.log
    emitted = [json.loads(line)["emit_s"] for line in (out / "chunks.jsonl").read_text().splitlines()]
    ratios = [longest(emitted, b, c) / longest(emitted, a, b) for a, b, c in phases]
    return answers, latencies, ratios, outcomes, watch


def test_the_stream_keeps_its_rhythm(flooded):
    _, _, ratios, _, watch = flooded
    assert min(ratios) <= 1 + SLOWER * watch.scale, ratios


def test_most_are_told_to_come_again_and_of_the_others_each_is_shown_or_overtaken(flooded):
    answers, _, _, outcomes, watch = flooded
    assert set(answers) == {200, 429}
    assert answers[200] <= ALLOWED.burst + ALLOWED.per_s * watch.seconds
    assert outcomes["accepted"] == answers[200] + ROUNDS
    assert outcomes["applied"] + outcomes["superseded"] == outcomes["accepted"]


def test_what_is_sent_afterwards_is_shown_within_two_chunks(flooded):
    _, latencies, _, _, _ = flooded
    assert sorted(latencies)[ROUNDS // 2] <= SOON_CHUNKS, latencies
