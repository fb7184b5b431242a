"""Files of weights whose data takes no disk, and what run=check says of a file."""

import json
import struct

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pp1_orchestrator.app.check import run_check
from pp1_orchestrator.app.check_report import report
from pp1_orchestrator.app.resume import StreamStart
from pp1_orchestrator.app.strategy_registry import check
from pp1_orchestrator.config.compose import as_overrides
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.loading.scan_weights import scan
from pp1_orchestrator.models.wan.config import WanConfig
from tests.planning.factories import settings

SMALL = WanConfig(dim=1536, ffn_dim=8960, num_heads=12, num_layers=30)
LARGE = WanConfig(dim=5120, ffn_dim=13824, num_heads=40, num_layers=40)


def sparse_safetensors(path, shapes, dtype="BF16", size=2):
    """A file with these tensors whose data takes no disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + size * int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def sparse_pickle(path, sections):
    """A `torch.save` file of these sections and shapes without the tensors' data. A section "" is the whole file."""
    with FakeTensorMode():
        tensors = {name: {key: torch.empty(shape) for key, shape in of.items()} for name, of in sections.items()}
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(tensors.get("", tensors), path)
    return path


def lines(path, *options):
    made = settings("run=check", *as_overrides("check.path", path), *options)
    return list(report(made, path, scan(path, made.model.ema)))


def said(path, *options):
    made = settings("run=check", f"check.path={path}", *options)
    config, registry = check(made, {"check"})
    run_check(made, config, registry, StreamStart([]), path.parent)


def refusal(path, *options):
    with pytest.raises(ConfigError) as refused:
        said(path, *options)
    assert "\n" not in str(refused.value)
    return str(refused.value)
