"""An independent judge that measures what a clip shows from its pixels alone.

    verdict = Judge.load().measure(frames)            # frames [B, T, 3, H, W], uint8 or float in 0…1
    verdict.correct(attributes)["shape"].float().mean()

Colours come from segmentation against the most common colour, the shape from a small network trained on drawn masks,
the motion from the mask's centroid, area and angular moment. Knows the world's palettes and shapes, not the model.
"""

from training.judge.judge import Judge, Verdict
from training.judge.segmentation import Mask, segment

__all__ = ["Judge", "Mask", "Verdict", "segment"]
