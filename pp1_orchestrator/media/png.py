"""Writes a still picture."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from pp1_orchestrator.media.frames import Frame


def write_png(picture: Frame, path: Path) -> None:
    """picture: uint8 [H, W, 3], RGB."""
    codec: Any = av.CodecContext.create("png", "w")
    codec.height, codec.width = picture.shape[:2]
    codec.pix_fmt, codec.time_base = "rgb24", Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    path.write_bytes(b"".join(map(bytes, (*codec.encode(frame), *codec.encode(None)))))
