"""A show survives its program: killed in the middle, stopped, or started again by its user."""

import hashlib
import json
import os
import signal
import stat
from pathlib import Path

import httpx
import msgspec
import pytest

from pp1_orchestrator.stage0.show import Show
from pp1_orchestrator.stage0.show_file import FILE, read
from pp1_orchestrator.types import PromptUpdate, TimelineEntry, WeightedPrompt
from tests.system.in_process import SMALL, run_script
from tests.system.program import Running, running

GREEN, YELLOW = "a green square moving right on a white background", "a yellow triangle moving up on a black background"
BLEND = PromptUpdate(prompts=(WeightedPrompt(GREEN, 0.25), WeightedPrompt(YELLOW, 0.75)), blend="slerp")
LABEL = f"0.25 × {GREEN} + 0.75 × {YELLOW}"
COMPARED = 3
"""Chunks after the hard cut."""


def perform(program: Running) -> None:
    """A prompt, a seed, a blend and a timeline."""
    program.wait_until_ready()
    program.post("/api/prompt", {"prompt": GREEN})
    program.wait_until(lambda: program.state()["prompt"] == GREEN)
    program.post("/api/control", {"action": "seed", "value": 7})
    blend = [{"text": GREEN, "weight": 0.25}, {"text": YELLOW, "weight": 0.75}]
    program.post("/api/prompt", {"prompts": blend, "blend": "slerp", "transition": {"steps": 2}})
    program.wait_until(lambda: (program.state()["prompt"], program.state()["seed"]) == (LABEL, 7))
    entries = [{"chunk": 12, "prompt": YELLOW}, {"chunk": 16, "cut": "hard", "seed": 11}]
    assert httpx.put(f"http://127.0.0.1:{program.port}/api/timeline", json={"entries": entries}).status_code == 200
    program.post("/api/lease", {"action": "take", "name": "Ann"})


def kept(program: Running, folder: Path) -> Show:
    """Its show, once all of it is on the disk."""

    def whole() -> bool:
        if not (folder / FILE).exists():
            return False
        show = read(folder / FILE)
        return show.update == BLEND and show.seed == 7 and len(show.timeline) == 2 and len(show.clients) == 1

    program.wait_until(whole)
    return read(folder / FILE)


def kill(program: Running) -> None:
    os.kill(program.process.pid, signal.SIGKILL)
    assert program.process.wait(240) == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, Show]:
    """The root of all runs, and the show of the first: it was killed in the middle."""
    root = tmp_path_factory.mktemp("outputs")
    with running(*SMALL, "layout=inline", f"outputs={root}", out=root / "killed") as program:
        perform(program)
        show = kept(program, root / "killed")
        kill(program)
    return root, show


def test_another_run_continues_the_show_of_one_that_was_killed(killed):
    root, show = killed
    assert stat.S_IMODE((root / "killed" / FILE).stat().st_mode) == 0o600
    with running(*SMALL, "layout=inline", f"outputs={root}", out=root / "again") as program:
        program.wait_until_ready()
        state = program.state()
        assert (state["prompt"], state["seed"], state["config"]["seed"]) == (LABEL, 7, 42)
        history = json.loads(program.get("/api/history")[1])["updates"]
        assert msgspec.convert(history, tuple[PromptUpdate, ...]) == show.history
        entries = json.loads(program.get("/api/timeline")[1])["entries"]
        assert [entry.get("prompt", entry.get("seed")) for entry in entries] == [YELLOW, 11]
        assert [entry["chunk"] for entry in entries] <= [entry.chunk for entry in show.timeline]
        assert [client.name for client in show.clients] == ["Ann"]
        assert f"continuing the show of {root / 'killed'}" in program.log
        assert GREEN not in program.log
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(240) == 0
    assert read(root / "again" / FILE).seed in (7, 11)


def test_a_prompt_and_a_seed_that_are_given_win(killed):
    root, _ = killed
    given = f"run.resume={root / 'killed'}", "seed=5", "run.prompt=a white star"
    with running(*SMALL, "layout=inline", *given, out=root.with_name("elsewhere")) as program:
        program.wait_until_ready()
        assert (program.state()["prompt"], program.state()["seed"]) == ("a white star", 5)
        assert len(json.loads(program.get("/api/timeline")[1])["entries"]) == 2


@pytest.mark.slow
def test_after_the_next_hard_cut_the_latents_are_those_of_an_unbroken_run(tmp_path):
    """The unbroken run is made from what the killed one had done and planned, by chunk."""
    log = tmp_path / "latents.txt"
    options = *SMALL, "layout=inline", f"outputs={tmp_path}"
    logged = {"module": "tests.system.latents_log", "environment": os.environ | {"LATENTS_LOG": str(log)}}
    with running(*options, out=tmp_path / "killed", **logged) as program:
        perform(program)
        kept(program, tmp_path / "killed")
        done, planned = (json.loads(program.get(f"/api/{name}")[1]) for name in ("recording", "timeline"))
        kill(program)
    log.unlink()
    with running(*options, out=tmp_path / "again", **logged) as program:
        program.wait_until(lambda: len(latents_after_the_cut(log)) >= COMPARED)
    script = msgspec.convert(done["entries"] + planned["entries"], list[TimelineEntry])
    chunks = script[-1].chunk + COMPARED
    _, unbroken = run_script(chunks=chunks, script=script)
    newest = unbroken.kept.latents[-COMPARED:]
    expected = [hashlib.sha256(latents.contiguous().numpy().data).hexdigest() for latents in newest]
    assert latents_after_the_cut(log)[:COMPARED] == expected


def latents_after_the_cut(log: Path) -> list[str]:
    """Digests of the chunks of epoch 1, in order."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return [words[2] for words in lines if len(words) == 3 and words[1] == "1"]
