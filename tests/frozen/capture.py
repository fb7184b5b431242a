"""Runs the program and describes what it does: each function returns the texts of some files of `expected/`."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from . import describe, internals
from .program import ROOT, Program, Server, serving

SCRIPT = """\
- {chunk: 0, prompt: "a red circle moving left on a blue background"}
- {chunk: 2, prompt: "a green square moving right on a white background"}
- {chunk: 3, prompt: "a yellow triangle moving up on a black background", cut: hard}
"""
SMALL = ("stream.height=64", "stream.width=64")
CHUNKS = 5
UNHURRIED = ("deadlines.heartbeat=20", "deadlines.answer=25", "deadlines.decode=25", "deadlines.chunk=60")
"""A busy machine neither gets heartbeats, which count as messages, nor restarts."""
ROUTINGS = ("rank0_encoder", "mesh_encoder", "hybrid_cache")
OVERLAPS = ("stage0_owned", "sync", "loop_ahead", "decode_thread")
CONTEXTS = ("clean_pass", "recompute_anchor", "recompute_synthetic", "recompute_latent", "none")
Texts = dict[str, str]
Digest = dict[str, str]
Job = tuple[str, str, str]
"""Routing, overlap, context."""


def strategies(folder: Path) -> dict[Job, Digest]:
    """All routings with all overlaps, and the contexts that these do not have; inline and small."""
    script = write_script(folder)
    jobs = [(routing, overlap, CONTEXTS[0]) for routing in ROUTINGS for overlap in OVERLAPS]
    jobs += [(ROUTINGS[0], OVERLAPS[0], context) for context in CONTEXTS[1:]]
    return {job: internals.run_inline(*choices(job), chunks=CHUNKS, script=script) for job in jobs}


def choices(job: Job) -> list[str]:
    return [f"{group}={option}" for group, option in zip(("routing", "overlap", "context"), job, strict=True)]


def write_script(folder: Path) -> Path:
    path = folder / "script.yaml"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def digest(summary: dict) -> Digest:
    return {key: summary[key] for key in ("latents_sha256", "pixels_sha256")}


def digest_values(digests: dict[Job, Digest], of_bench: Digest) -> dict[str, Digest]:
    """All digests in the form in which they are stored."""
    return {" ".join(job): value for job, value in digests.items()} | {"layout=cpu": of_bench}


def bench(folder: Path) -> tuple[Digest, Texts]:
    """A scripted run of the default choices, with a mesh of two ranks. Its digest, and what its files look like."""
    out = folder / "bench"
    options = ("run=bench", f"run.chunks={CHUNKS}", "run.warmup_chunks=1", "layout=cpu", *UNHURRIED)
    place = (f"run.script={write_script(folder)}", f"hydra.run.dir={out}")
    program = Program(*options, *place, log=folder / "bench.log")
    output = program.end()
    read = {name: (out / name).read_text(encoding="utf-8") for name in ("summary.json", "chunks.jsonl", "plan.json")}
    summary, chunks = json.loads(read["summary.json"]), [json.loads(line) for line in read["chunks.jsonl"].splitlines()]
    columns = ("chunk_index", "cache_epoch", "call_id", "frames", "update_ids", "envelope_bytes", "result_bytes")
    return digest(summary), {
        "bench/files.txt": describe.files(out),
        "bench/log.txt": describe.text_log(output, out),
        "bench/summary.txt": describe.shape(summary),
        "bench/plan.txt": describe.shape(json.loads(read["plan.json"])),
        "bench/chunks.txt": describe.shape(*chunks),
        "bench/chunks.jsonl": "".join(json.dumps({key: c[key] for key in columns}) + "\n" for c in chunks),
        "bench/recording.yaml": (out / "recording.yaml").read_text(encoding="utf-8"),
        "bench/trace.txt": describe.trace(json.loads((out / "trace.json").read_text(encoding="utf-8"))),
    }


def serve(folder: Path) -> Texts:
    """A stream that gets a prompt, a hard cut, the death of its mesh and a stop."""
    out = folder / "serve"
    options = (*SMALL, "layout=cpu", "layout.mesh_ranks=1", "run.warmup_chunks=0", "log.format=json", *UNHURRIED)
    sections, seen = [], 0
    with serving(*options, "supervision.pauses_s=[0]", f"hydra.run.dir={out}", log=folder / "serve.log") as server:
        for name in _live(server):
            lines = server.new_lines(seen)
            seen += len(lines)
            sections.append(f"== {name}\n{describe.json_log(lines, out)}")
            if name == "restart":
                texts = {
                    "serve/openapi.json": describe.as_json(json.loads(server.request("/api/openapi.json")[1])),
                    "serve/metrics.txt": describe.metrics(server.request("/metrics")[1]),
                    "serve/state.txt": describe.shape(server.state()),
                }
    return texts | {"serve/log.txt": "\n".join(sections), "serve/files.txt": describe.files(out)}


def _live(server: Server) -> Iterator[str]:
    """Go through a stream's life; yields the name of each part when it is over."""
    server.wait_until_ready()
    yield "start"
    prompt = "a green square moving right on a white background"
    server.post("/api/prompt", {"prompt": prompt})
    server.wait_until(lambda: server.state()["prompt"] == prompt)
    yield "prompt"
    epoch = server.state()["epoch"]
    server.post("/api/control", {"action": "hard_cut"})
    server.wait_until(lambda: server.state()["epoch"] > epoch)
    server.wait_until_ready()
    yield "hard cut"
    leader = server.state()["ranks"]["1"]["pid"]
    os.kill(leader, signal.SIGKILL)
    server.wait_until(lambda: server.state()["ranks"]["1"]["pid"] != leader and server.state()["state"] == "ready")
    server.wait_until_ready()
    server.wait_until(lambda: all("resident" in rank["memory"] for rank in server.state()["ranks"].values()))
    yield "restart"
    server.terminate()
    server.end()
    yield "stop"


def settings(folder: Path) -> Texts:
    """What Hydra composes by default and for each experiment."""
    names = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
    choices = {"default": ()} | {name: (f"experiment={name}",) for name in names}
    started = {name: Program("--cfg", "job", *choice, log=folder / f"{name}.yaml") for name, choice in choices.items()}
    return {f"settings/{name}.yaml": program.end() for name, program in started.items()}


def wire() -> Texts:
    """The bytes of all messages, by digest, and what they mean."""
    return {
        "wire.json": describe.as_json({
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "meaning": meaning}
            for name, (data, meaning) in internals.wire_messages().items()
        })
    }  # fmt: skip
