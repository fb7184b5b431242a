"""The world that the shipped model learns: one coloured shape moving on a coloured background.

It is deterministic given the state and the caption's attributes, so a model trained by plain regression stays sharp in
four steps. Knows nothing of latents, models or training.
"""

from training.world.attributes import (
    BACKGROUNDS,
    COLORS,
    DEFAULT_SCENE,
    MOTIONS,
    NO_SHAPE,
    SHAPES,
    SIZES,
    SPEEDS,
    Attribute,
    Scene,
)
from training.world.drawing import cover, draw_clip
from training.world.dynamics import Poses, State, canonical_state, chunk_of_frame, random_state, simulate

__all__ = [
    "BACKGROUNDS",
    "COLORS",
    "DEFAULT_SCENE",
    "MOTIONS",
    "NO_SHAPE",
    "SHAPES",
    "SIZES",
    "SPEEDS",
    "Attribute",
    "Poses",
    "Scene",
    "State",
    "canonical_state",
    "chunk_of_frame",
    "cover",
    "draw_clip",
    "random_state",
    "simulate",
]
