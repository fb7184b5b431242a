"""An independent judge: what a clip shows, measured from its pixels alone.

    verdict = Judge.load().measure(frames)            # frames [B, T, 3, H, W], uint8 or float in 0…1
    verdict.correct(attributes)["shape"].float().mean()

Colours by segmentation against the most common colour, shape by a small network that has seen drawn masks only, motion
from the mask's centroid, area and angular moment. It knows the world's palettes and shapes, and nothing of the model.
"""

from training.judge.judge import Judge, Verdict
from training.judge.segmentation import Mask, segment

__all__ = ["Judge", "Mask", "Verdict", "segment"]
