"""A transformer's weights from a file in any known layout, checked before anything of them is read."""

from __future__ import annotations

from pathlib import Path

import torch

from pp1_orchestrator.models.checkpoints.compare import check_shapes
from pp1_orchestrator.models.checkpoints.files import Weights, open_weights
from pp1_orchestrator.models.checkpoints.wan_layouts import in_our_names, with_lora
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.dit import CausalWanModel
from pp1_orchestrator.models.wan.parallelize import Place, ShardPlan
from pp1_orchestrator.models.wan.weights import assemble, read_part, whole_shapes


def open_generator(
    path: Path, config: WanConfig, ema: bool = True, lora: Path | None = None, lora_alpha: float | None = None
) -> Weights:
    """The transformer in `path`, a file or a folder, under our names, with the changes of `lora` added.

    Raises FileNotFoundError, and ValueError with one line that names the file and the first wrong keys.
    """
    weights = in_our_names(open_weights(path), ema)
    check_shapes(weights.path, "generator", whole_shapes(config), weights.shapes())
    return weights if lora is None else with_lora(weights, open_weights(lora), lora_alpha)


def load_generator(path: Path, config: WanConfig, device: torch.device, dtype: torch.dtype) -> CausalWanModel:
    """The whole transformer in `path`, on one device. Raises what `open_generator` raises."""
    alone, plan = Place(0, 1), ShardPlan()
    state = read_part(config, open_generator(path, config), alone, plan, device, dtype)
    return assemble(config, state, alone, plan)
