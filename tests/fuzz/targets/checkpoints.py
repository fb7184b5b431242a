"""A folder with a checkpoint in which one file, named in the input's first line, is the rest of the input.

Errors of opening, checking and converting it are OSError and ValueError with one line.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import save

from pp1_orchestrator.convert import convert, parser
from pp1_orchestrator.loading.checkpoint import check_folder
from pp1_orchestrator.models.checkpoints.manifest import DigestCache, check_manifest, fingerprint
from pp1_orchestrator.models.checkpoints.reader import open_weights
from tests.fuzz.oracle import check_line
from tests.models.checkpoints.factories import state

WEIGHTS, SHARD, INDEX = "model.safetensors", "model-1.safetensors", "model.safetensors.index.json"
PICKLE, LORA, CONFIG, MANIFEST = "model.pt", "lora.safetensors", "config.json", "manifest.json"
STATE = state(1)
PARENT = tempfile.TemporaryDirectory(prefix="fuzz-")


def _pickled() -> bytes:
    torch.save({"generator": STATE}, file := io.BytesIO())
    return file.getvalue()


def _lora() -> bytes:
    name = "blocks.0.self_attn.q"
    return save({f"{name}.lora_A.weight": torch.ones(2, 8), f"{name}.lora_B.weight": torch.ones(8, 2)})


def _described(data: bytes) -> bytes:
    entry = {"bytes": len(data), "sha256": "0" * 64}
    return msgspec.json.encode({"schema": 1, "files": {WEIGHTS: entry}, "sources": {}, "made": {}})


GOOD = {
    WEIGHTS: save(STATE),
    INDEX: msgspec.json.encode({"weight_map": dict.fromkeys(STATE, SHARD)}),
    PICKLE: _pickled(),
    LORA: _lora(),
    CONFIG: b'{"num_heads": 2, "text_len": 3}',
    MANIFEST: _described(save(STATE)),
}


def seeds() -> list[bytes]:
    return [name.encode() + b"\n" + data for name, data in GOOD.items()]


def fuzz_one(data: bytes) -> None:
    line, _, content = data.partition(b"\n")
    name = line.decode("latin-1")
    if name not in GOOD:
        return
    with tempfile.TemporaryDirectory(dir=PARENT.name) as temporary:
        folder = Path(temporary, "source")
        folder.mkdir()
        source = folder / (name if name in (INDEX, PICKLE) else WEIGHTS)
        (folder / CONFIG).write_bytes(GOOD[CONFIG])
        (folder / SHARD if name == INDEX else source).write_bytes(GOOD[WEIGHTS])
        if name == MANIFEST:
            (folder / MANIFEST).write_bytes(GOOD[MANIFEST])
        (folder / name).write_bytes(content)
        options: list[Any] = ["--lora", folder / LORA] if name == LORA else []
        cache = DigestCache(Path(temporary, "digests.json"), min_bytes=0)
        _check_refusal(lambda: check_folder(folder))
        _check_refusal(lambda: check_manifest(source, digests=True))
        _check_refusal(lambda: fingerprint(source, cache))
        _check_refusal(lambda: _read_all(source))
        _check_refusal(
            lambda: convert(parser().parse_args([str(part) for part in (source, Path(temporary, "to"), *options)]))
        )


def _read_all(source: Path) -> None:
    weights = open_weights(source)
    for key in weights.shapes():
        weights.read(key)


def _check_refusal(act: Callable[[], Any]) -> None:
    try:
        act()
    except (OSError, ValueError) as error:
        check_line(error)
