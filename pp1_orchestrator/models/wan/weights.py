"""Reads a transformer's weights: safetensors in Wan2.1's names, or random ones in the same shapes."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel

SHOWN_KEYS = 5


def _mismatch(model: CausalWanModel, found: dict[str, torch.Tensor]) -> str | None:
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    missing = [f"{k} {s}" for k, s in expected.items() if k not in found]
    extra = [f"{k} {tuple(t.shape)}" for k, t in found.items() if k not in expected]
    wrong = [
        f"{k} {tuple(found[k].shape)} instead of {s}"
        for k, s in expected.items()
        if k in found and tuple(found[k].shape) != s
    ]
    parts = [("missing", missing), ("unexpected", extra), ("wrong shape", wrong)]
    text = "; ".join(f"{name}: {', '.join(keys[:SHOWN_KEYS])}" for name, keys in parts if keys)
    return text or None


def load_generator(
    folder: Path, config: WanConfig, device: torch.device, dtype: torch.dtype, random: bool = False, seed: int = 0
) -> CausalWanModel:
    """The transformer in `folder`, on `device` in `dtype`. Raises ValueError naming the first wrong keys."""
    if random:
        torch.manual_seed(seed)
        return CausalWanModel(config).to(device, dtype).eval().requires_grad_(False)
    with torch.device("meta"):
        model = CausalWanModel(config)
    state = load_file(folder / "model.safetensors", device=str(device))
    problem = _mismatch(model, state)
    if problem:
        raise ValueError(f"{folder} does not hold this generator: {problem}")
    model.load_state_dict({k: t.to(dtype) for k, t in state.items()}, assign=True)
    return model.eval().requires_grad_(False)
