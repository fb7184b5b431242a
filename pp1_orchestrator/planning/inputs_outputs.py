"""What a run needs as input and produces as output, as a typed value. An impossible run is refused here.

Replaces a pipeline's `prepare()`, which has to load the pipeline to answer this.
"""

import math

import msgspec
import torch

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.config.validate import check_size, check_steps, check_window
from pp1_orchestrator.contract.envelope import SIZE_MULTIPLE, latent_size, pixel_frames
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.schedule import NoiseStep


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of a stream and of its chunks; an epoch's first chunk has fewer pixel frames.

    input_frames: pixel frames to be supplied for a chunk; 0 for text to video. latents: [1, F, z, h, w]. text: an
    embedding, [1, L, text_dim]. realtime_period_ms: the longest period at which the stream is live.
    """

    input_frames: int
    height: int
    width: int
    size_multiple: int
    schedule: tuple[NoiseStep, ...]
    chunk_latent_frames: int
    chunk_pixel_frames: int
    first_chunk_pixel_frames: int
    window_latent_frames: int
    sink_latent_frames: int
    latents: tuple[int, int, int, int, int]
    text: tuple[int, int, int]
    fps: int
    realtime_period_ms: float

    @property
    def latent_bytes(self) -> int:
        """Bytes of one chunk's latents on the wire."""
        return math.prod(self.latents) * torch.float32.itemsize


def requirements(settings: Settings, config: WanConfig) -> Requirements:
    """Raises ConfigError for what can't be run."""
    stream = settings.stream
    check_size("stream.height", stream.height)
    check_size("stream.width", stream.width)
    check_window(config)
    frames = config.chunk_frames
    chunk_pixels = pixel_frames(frames, first=False)
    return Requirements(
        input_frames=0,
        height=stream.height,
        width=stream.width,
        size_multiple=SIZE_MULTIPLE,
        schedule=tuple(check_steps(settings.model)),
        chunk_latent_frames=frames,
        chunk_pixel_frames=chunk_pixels,
        first_chunk_pixel_frames=pixel_frames(frames, first=True),
        window_latent_frames=config.local_attn_size,
        sink_latent_frames=config.sink_frames,
        latents=(1, frames, config.in_dim, *latent_size(stream.height, stream.width)),
        text=(1, config.text_len, config.text_dim),
        fps=stream.fps,
        realtime_period_ms=1e3 * chunk_pixels / stream.fps,
    )
