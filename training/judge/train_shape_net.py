"""Trains the judge's shape network on drawn masks: blurred, warped, noisy, sometimes garbage.

    python -m training.judge.train_shape_net

It sees drawn masks only, never a frame of the model, so it can't learn the model's flaws.
"""

import argparse
import logging
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from training.judge.segmentation import CROP_RADIUS
from training.judge.shape_net import WEIGHTS, ShapeNet
from training.world.attributes import NO_SHAPE, SHAPES
from training.world.drawing import distance

_log = logging.getLogger(__name__)


class _MaskMaker:
    """Draws random masks that are still recognisable."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._grid = torch.arange(-CROP_RADIUS, CROP_RADIUS, 2) + 1.0

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator) * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator)

    def integers(self, low: int, high: int, count: int) -> Tensor:
        return torch.randint(low, high, (count,), generator=self._generator)

    def smooth(self, channels: int, cells: int, count: int) -> Tensor:
        """Smooth random fields [count, channels, CROP_RADIUS, CROP_RADIUS]."""
        size = (CROP_RADIUS, CROP_RADIUS)
        return interpolate(self.normal(count, channels, cells, cells), size=size, mode="bicubic", align_corners=False)

    def masks(self, shape: Tensor, angle: Tensor, centre: Tensor) -> Tensor:
        """Soft, warped masks of objects at `centre` [n, 2]."""
        count = len(shape)
        softness = self.uniform(1.5, 5, count, 1, 1)
        warp = self.smooth(2, 9, count) * self.uniform(0, 1.6, count, 1, 1, 1)
        dx = self._grid[None, None, :] - centre[:, :1, None] + warp[:, 0]
        dy = self._grid[None, :, None] - centre[:, 1:, None] + warp[:, 1]
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        radius = self.uniform(14, 46, count, 1, 1)
        away = distance(shape[:, None, None], cos * dx + sin * dy, cos * dy - sin * dx, radius)
        return (0.5 - away / softness).clamp(0, 1)

    def named(self, count: int) -> tuple[Tensor, Tensor]:
        """Masks and their shapes; 40 % are rotated."""
        shape = self.integers(0, len(SHAPES), count)
        angle = self.uniform(0, 2 * math.pi, count) * (self.uniform(0, 1, count) < 0.4)
        return self.masks(shape, angle, self.uniform(-2, 2, count, 2)), shape

    def garbage(self, count: int) -> Tensor:
        """Masks of no clear shape: two objects, two blended shapes, or blobs."""
        first, shape = self.named(count)
        other = (shape + self.integers(1, len(SHAPES), count)) % len(SHAPES)
        apart = self.uniform(0, 1, count)[:, None] < 0.5
        away = self.uniform(-1, 1, count, 2).sign() * self.uniform(12, 30, count, 2)
        second = self.masks(other, torch.zeros(count), torch.where(apart, away, torch.zeros(count, 2)))
        share = self.uniform(0.4, 0.6, count, 1, 1)
        both = torch.where(apart[..., None], torch.maximum(first, second), share * first + (1 - share) * second)
        reach = (self._grid[None, :, None].square() + self._grid[None, None, :].square()) / 500
        blobs = (self.smooth(1, 7, count)[:, 0] * 3 + 1 - reach).clamp(0, 1)
        return torch.where(self.uniform(0, 1, count, 1, 1) < 0.5, both, blobs)

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """Crops [count, 1, …] and classes [count]; one in six has no clear shape."""
        masks, classes = self.named(count)
        unclear = count // 6
        masks[:unclear], classes[:unclear] = self.garbage(unclear), NO_SHAPE
        noise = self.normal(*masks.shape) * self.uniform(0, 0.06, count, 1, 1)
        return (masks * self.uniform(0.9, 1.15, count, 1, 1) + noise).clamp(0, 1)[:, None], classes


def train_shape_net(steps: int, batch: int = 96, seed: int = 0, peak_rate: float = 2e-3) -> tuple[ShapeNet, float]:
    """A trained network, and its accuracy on new masks over the last tenth of the steps."""
    torch.manual_seed(seed)
    net, maker = ShapeNet(), _MaskMaker(torch.Generator().manual_seed(seed))
    optimizer = torch.optim.AdamW(net.parameters(), peak_rate)
    right = seen = 0
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = peak_rate * (1 - step / steps) + 1e-5
        crops, classes = maker.batch(batch)
        logits = net(crops)
        loss = cross_entropy(logits, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= 0.9 * steps:
            right, seen = right + int((logits.argmax(-1) == classes).sum()), seen + batch
        if step % 200 == 0:
            _log.info("step %d loss %.4f", step, loss.item())
    return net.eval(), right / max(1, seen)


def main() -> None:
    """Trains on the CPU and writes float16 weights."""
    parser = argparse.ArgumentParser(description="Train the judge's shape network on drawn masks.")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    net, accuracy = train_shape_net(options.steps)
    state = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    save_file({k: v.contiguous() for k, v in state.items()}, options.out)
    _log.info("accuracy %.4f, written to %s", accuracy, options.out)


if __name__ == "__main__":
    main()
