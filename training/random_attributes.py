"""Random attribute tensors, drawn on the device, for training the VAE without captions."""

import torch
from torch import Tensor

from training.world.attributes import BACKGROUNDS, COLORS, MOTIONS, NO_SHAPE, SHAPES, Attribute

_SIZE_ODDS = _SPEED_ODDS = (1.0, 2.0, 1.0)


def random_attributes(
    count: int, scenes: int, device: torch.device, p_change: float = 0.6, p_empty: float = 0.03
) -> Tensor:
    """Attributes [count, scenes, 6]. From scene to scene, each changes with probability `p_change`."""
    out = [_draw(count, device)]
    for _ in range(scenes - 1):
        change = torch.rand(count, len(Attribute), device=device) < p_change
        out.append(torch.where(change, _draw(count, device), out[-1]))
    attributes = torch.stack(out, 1)
    empty = torch.rand(count, scenes, device=device) < p_empty
    attributes[..., Attribute.SHAPE].masked_fill_(empty, NO_SHAPE)
    return attributes


def _draw(count: int, device: torch.device) -> Tensor:
    uniform = [
        torch.randint(0, len(names), (count,), device=device) for names in (COLORS, SHAPES, MOTIONS, BACKGROUNDS)
    ]
    weighted = [
        torch.multinomial(torch.tensor(odds, device=device), count, replacement=True)
        for odds in (_SIZE_ODDS, _SPEED_ODDS)
    ]
    return torch.stack([*uniform, *weighted], -1)
