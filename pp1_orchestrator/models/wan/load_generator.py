"""Loads a rank's part of the transformer: selects its part of each tensor, reads it and builds the model around it.

A checkpoint's names and shapes are checked before a tensor is read. A rank never holds more than its own part and one
whole tensor. Knows nothing of file formats.
"""

from pathlib import Path

import torch
from torch import Tensor

from pp1_orchestrator.models.checkpoints.reader import Shape, Weights, check_shapes, open_weights, shapes_of
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.parallel_plan import ParallelPlan
from pp1_orchestrator.models.wan.tensor_parallel import Place, Shard, ShardPlan
from pp1_orchestrator.models.wan.wan_state_dict import in_our_names, with_lora

State = dict[str, Tensor]


def whole_shapes(config: WanConfig) -> dict[str, Shape]:
    """The shape of every tensor of the transformer before it is split."""
    return shapes_of(_on_meta(config))


def read_part(
    config: WanConfig, source: Weights, place: Place, plan: ParallelPlan, device: torch.device, dtype: torch.dtype
) -> State:
    """The tensors of the rank at `place`, each split along the dimension in which the rank's part is smaller."""
    model = _on_meta(config)
    whole = shapes_of(model)
    state: State = {}
    for name, shape in shapes_of(plan.parallelize(model, place)).items():
        split = [dim for dim, size in enumerate(shape) if size != whole[name][dim]]
        if split:
            size = shape[split[0]]
            rows = slice(place.rank * size, (place.rank + 1) * size)
            state[name] = source.read(name, device, dtype, rows, split[0])
        else:
            state[name] = source.read(name, device, dtype)
    return state


def build_sharded(config: WanConfig, state: State, shard: Shard, plan: ParallelPlan) -> CausalWanModel:
    """The transformer with the weights of `read_part`, connected to the other ranks by `shard`.

    Empties `state`, so that a weight that is replaced later is freed.
    """
    model = plan.parallelize(_on_meta(config), shard)
    model.load_state_dict(state, assign=True)
    state.clear()
    return model.eval().requires_grad_(False)


def _on_meta(config: WanConfig) -> CausalWanModel:
    with torch.device("meta"):
        return CausalWanModel(config)


def open_generator(
    path: Path, config: WanConfig, ema: bool = True, lora: Path | None = None, lora_alpha: float | None = None
) -> Weights:
    """The transformer in `path`, a file or a folder, under our names, with `lora` merged into it.

    Raises FileNotFoundError, and ValueError with one line that names the file and the first wrong keys.
    """
    weights = in_our_names(open_weights(path), ema)
    check_shapes(weights.path, "generator", whole_shapes(config), weights.shapes())
    return weights if lora is None else with_lora(weights, open_weights(lora), lora_alpha)


def load_generator(path: Path, config: WanConfig, device: torch.device, dtype: torch.dtype) -> CausalWanModel:
    """The whole transformer in `path`, on one device. Raises what `open_generator` raises."""
    alone, plan = Place(0, 1), ShardPlan()
    state = read_part(config, open_generator(path, config), alone, plan, device, dtype)
    return build_sharded(config, state, alone, plan)
