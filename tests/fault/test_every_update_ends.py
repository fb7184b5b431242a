"""Updates of a real stream: each one ends, whatever cuts, seeds, pauses, timelines and failures come in between."""

import random
import threading
import time
from collections import Counter

import pytest

from pp1_orchestrator.app.strategy_registry import Registry
from pp1_orchestrator.app.stream import Instruments, Stream
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.media.frames import placeholder
from pp1_orchestrator.media.pacer import PacedSink
from pp1_orchestrator.types import Control, PromptUpdate, TimelineEntry, Transition
from tests.system.in_process import SMALL, make_settings

FINAL, WAIT_S = ("visible", "superseded", "failed"), 240
PROMPTS = ("a red circle moving left on a blue background", "a green star on a black background", "a blue square")


class Nobody:
    """Watches, and keeps nothing."""

    def show(self, frame, at_s) -> None:
        """It was shown."""


class Watched:
    """A stream in this process that is shown in real time, and all events of its updates."""

    def __init__(self, *choices: str) -> None:
        settings, config = make_settings(*SMALL, "run.chunks=100000", *choices)
        self.instruments, self.acts = Instruments(0), Counter()
        self.heard = self.instruments.events.subscribe(lambda: None)
        self.events: list[dict] = []
        metrics, shown = self.instruments.metrics, self.instruments.receipts.shown
        self.sink = PacedSink([Nobody()], settings.stream.fps, placeholder(64, 64), metrics, shown)
        registry = Registry(settings)
        self.stream = Stream(settings, config, registry, [], self.instruments, self.sink)
        self.session = self.stream.session
        self.session.start()

    def __enter__(self) -> "Watched":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.sink.close()

    def of(self, *kinds: str) -> list[dict]:
        self.events += self.heard.drain()
        return [event for event in self.events if event["event"] in kinds and "update" in event]

    def ends(self) -> Counter[str]:
        return Counter(event["update"] for event in self.of(*FINAL))

    def accepted(self) -> set[str]:
        return {event["update"] for event in self.of("accepted")}

    def wait_for(self, condition) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert self.session.failure is None, self.session.failure
            assert time.monotonic() < end, self.of(*FINAL, "accepted", "applied")
            time.sleep(0.01)


def one_act(watched: Watched, dice: random.Random) -> None:
    """What a client may do."""
    session = watched.session
    prompt = dice.choice(PROMPTS)
    soon = [TimelineEntry(chunk=n, prompt=prompt, cut=dice.choice(["soft", "hard"])) for n in range(dice.randint(1, 3))]
    acts = {
        "update": lambda: session.update_prompt(PromptUpdate(prompt=prompt)),
        "slow": lambda: session.update_prompt(PromptUpdate(prompt=prompt, transition=Transition(dice.randint(2, 4)))),
        "cutting": lambda: session.update_prompt(PromptUpdate(prompt=prompt, cut="hard")),
        "again": lambda: session.update_prompt(PromptUpdate(prompt=prompt, cut="recache")),
        "cut": lambda: session.control(Control("hard_cut")),
        "seed": lambda: session.control(Control("seed", dice.randint(0, 99))),
        "pause": lambda: session.control(Control("pause")),
        "resume": lambda: session.control(Control("resume")),
        "timeline": lambda: session.set_timeline(soon, relative=True),
        "clear": lambda: session.set_timeline([], relative=True),
    }
    name = dice.choice(list(acts))
    watched.acts[name] += 1
    acts[name]()


@pytest.mark.parametrize("overlap", ["stage0_owned", "decode_thread"])
@pytest.mark.slow
def test_a_random_schedule_ends_every_update_once(overlap):
    dice = random.Random(overlap)
    with Watched(f"overlap={overlap}") as watched:
        for _ in range(60):
            one_act(watched, dice)
            time.sleep(dice.choice([0, 0, 0.05, 0.2, 0.5]))
        watched.session.control(Control("resume"))
        watched.wait_for(lambda: not watched.session.timeline() and watched.accepted() == watched.ends().keys())
        assert set(watched.ends().values()) == {1}
        assert [event["id"] for event in watched.events] == list(range(1, len(watched.events) + 1))


def test_what_is_still_open_at_the_end_has_failed():
    with Watched() as watched:
        watched.wait_for(lambda: "u1" in watched.ends())
        watched.session.control(Control("pause"))
        update = watched.session.update_prompt(PromptUpdate(prompt=PROMPTS[1])).id
        watched.session.request_stop()
        assert watched.session.done.wait(WAIT_S)
        (failed,) = watched.of("failed")
        assert (failed["update"], failed["reason"]) == (update, "the stream has ended")


def test_a_stream_that_fails_ends_its_updates_too():
    with Watched("supervision.restarts=0") as watched:
        watched.wait_for(lambda: "u1" in watched.ends())
        broken = threading.Event()

        def fail(chunk) -> None:
            broken.set()
            raise OSError("no room")

        watched.sink.put = fail
        updates = [watched.session.update_prompt(PromptUpdate(prompt=prompt)).id for prompt in PROMPTS]
        assert watched.session.done.wait(WAIT_S)
        assert broken.is_set()
        assert set(updates) <= watched.ends().keys()
        assert set(watched.ends().values()) == {1}


def test_an_update_whose_plan_fails_is_shown_by_the_next_mesh():
    with Watched("run.restarts=3", "supervision.pauses_s=[0]") as watched:
        watched.wait_for(lambda: "u1" in watched.ends())
        pipeline = watched.stream._pipeline
        pack, broken = pipeline._pack, threading.Event()

        def refuse_once(envelope):
            if envelope.meta.plan is not None and envelope.tensors and not broken.is_set():
                broken.set()
                raise ContractError("this can't be sent")
            return pack(envelope)

        pipeline._pack = refuse_once
        update = watched.session.update_prompt(PromptUpdate(prompt=PROMPTS[1])).id
        watched.wait_for(lambda: update in watched.ends())
        assert broken.is_set()
        assert [event["event"] for event in watched.of(*FINAL) if event["update"] == update] == ["visible"]
