"""A generator small enough for arithmetic in float64, with weights in which nothing is zero, one or symmetric."""

import math

import msgspec
import torch

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.schedule import FlowSchedule

# Height and width differ, and so do the rotary axes of a head (4, 2 and 2 pairs): a mix-up of any two shows.
HEIGHT, WIDTH = 4, 6
CONFIG = WanConfig(
    dim=64, ffn_dim=96, num_heads=4, num_layers=3, in_dim=4, out_dim=4, text_dim=24, text_len=7, freq_dim=32
)


def random_model(config: WanConfig = CONFIG, seed: int = 0) -> CausalWanModel:
    """Matrices keep a signal's size; biases, norms and modulations are far from where they are initialised."""
    rng = torch.Generator().manual_seed(seed)
    model = CausalWanModel(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        draw = torch.randn(parameter.shape, generator=rng)
        if parameter.dim() > 1 and not name.endswith("modulation"):
            parameter.copy_(draw / math.sqrt(parameter[0].numel()))
        else:
            parameter.copy_(0.3 * draw + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
    return model


def make_generator(
    model: CausalWanModel, schedule: FlowSchedule, chunk: int = 3, window: int = 9, sink: int = 0
) -> CausalGenerator:
    sizes = msgspec.structs.replace(model.config, chunk_frames=chunk, local_attn_size=window, sink_frames=sink)
    cache = KVCache(sizes, (HEIGHT, WIDTH))
    return CausalGenerator(model, cache, schedule)


def random_text(seed: int, config: WanConfig = CONFIG) -> torch.Tensor:
    return torch.randn(1, config.text_len, config.text_dim, generator=torch.Generator().manual_seed(seed))


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, in parts of the largest value."""
    return float((found.double() - wanted.double()).abs().max() / wanted.double().abs().max())
