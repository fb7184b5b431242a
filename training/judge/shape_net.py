"""The network that classifies the shape of a mask. `training.judge.train_shape_net` trains it on drawn masks."""

from pathlib import Path
from typing import Final

from safetensors.torch import load_file
from torch import Tensor, nn

from training.world.attributes import NO_SHAPE

WEIGHTS: Final = Path(__file__).with_name("shape_net.safetensors")


def _stage(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inner, outer, 3, 2, 1), nn.BatchNorm2d(outer), nn.ReLU())


class ShapeNet(nn.Module):
    """Crops [N, 1, CROP_RADIUS, CROP_RADIUS] -> logits [N, shapes + 1]; the last class is "no clear shape"."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_stage(1, 16), _stage(16, 32), _stage(32, 64))
        self.classes = nn.Linear(64 * 7 * 7, NO_SHAPE + 1)

    def forward(self, crops: Tensor) -> Tensor:
        return self.classes(self.features(crops).flatten(1))


def load_shape_net(path: Path = WEIGHTS) -> ShapeNet:
    """The stored network, for inference. Raises OSError when the file is missing."""
    net = ShapeNet()
    stored = load_file(path)
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in stored.items()})
    return net.eval().requires_grad_(False)
