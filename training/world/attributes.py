"""The attributes of a scene: palettes, shapes, motions, sizes, speeds, and their ids in tensors.

Knows nothing of wording (captions), movement (dynamics) or pixels (drawing).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

RESOLUTION: Final = 128

# Strong colours on dark backgrounds. The only light background is well below white, so that white, yellow and cyan
# objects stay visible.
COLORS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (228, 36, 42),
    "orange": (250, 138, 22),
    "yellow": (250, 230, 56),
    "green": (44, 200, 76),
    "cyan": (40, 216, 228),
    "blue": (56, 108, 246),
    "purple": (160, 66, 224),
    "white": (250, 250, 250),
}
BACKGROUNDS: Final[dict[str, tuple[int, int, int]]] = {
    "black": (14, 14, 18),
    "gray": (92, 94, 100),
    "white": (168, 170, 176),
    "blue": (16, 30, 104),
    "green": (10, 78, 38),
    "red": (104, 14, 22),
    "purple": (62, 16, 92),
    "brown": (94, 58, 30),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "ring", "cross")
SYMMETRY: Final = (0.0, 4.0, 3.0, 5.0, 0.0, 4.0)  # in how many ways each shape can be turned onto itself; 0: in all
MOTIONS: Final = ("left", "right", "up", "down", "bouncing", "still", "rotating", "pulsing")
SIZES: Final[dict[str, float]] = {"small": 23.0, "medium": 28.0, "big": 35.0}  # radius in pixels
SPEEDS: Final[dict[str, float]] = {"slow": 0.6, "normal": 1.0, "fast": 1.6}  # factor on every motion

NO_SHAPE: Final = len(SHAPES)  # shape id of an empty scene
EMPTY: Final = "none"  # shape name of an empty scene


class Attribute(IntEnum):
    """Index of each attribute in the last dimension of an attribute tensor."""

    COLOR = 0
    SHAPE = 1
    MOTION = 2
    BACKGROUND = 3
    SIZE = 4
    SPEED = 5


@dataclass(frozen=True, slots=True)
class Scene:
    """The meaning of a caption, by name. The shape "none" is an empty background."""

    color: str
    shape: str
    motion: str
    background: str
    size: str
    speed: str

    def ids(self) -> list[int]:
        """Integer ids in the order of `Attribute`."""
        return [
            list(COLORS).index(self.color),
            NO_SHAPE if self.shape == EMPTY else SHAPES.index(self.shape),
            MOTIONS.index(self.motion),
            list(BACKGROUNDS).index(self.background),
            list(SIZES).index(self.size),
            list(SPEEDS).index(self.speed),
        ]


# The meaning of omitted attributes.
DEFAULT_SCENE: Final = Scene("white", "circle", "bouncing", "black", "medium", "normal")
