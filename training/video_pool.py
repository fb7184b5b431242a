"""A pool of encoded inputs and of what they become, for teacher forcing of video to video."""

import torch

from training import world
from training.clip_pool import ClipBatch, chunk_attributes, chunk_weight
from training.latent_space import LatentSpace
from training.model import CHUNK_FRAMES, LATENT_SHAPE
from training.scene_scripts import pick_tokens
from training.video_scripts import VideoScripts, source_attributes

_CLIPS_AT_ONCE = 100


class VideoPool:
    """Pairs of clips of `chunks` chunks with the same poses. They are noise until `encode` is called."""

    def __init__(self, scripts: VideoScripts, chunks: int, device: torch.device) -> None:
        shape = (2, len(scripts.source), chunks * CHUNK_FRAMES, *LATENT_SHAPE)
        self._source, self._wanted = torch.randn(shape, dtype=torch.float16, device=device).unbind()
        self._scripts, self._chunks = scripts.to(device), chunks
        captions = self._scripts.captions
        self._segments = captions.segments(chunks)
        self._weight = chunk_weight(captions.attributes, self._segments, self._segments[:, 0])

    @torch.no_grad()
    def encode(self, space: LatentSpace) -> None:
        """Draws and encodes both clips of every script, in place."""
        count, device = len(self._source), self._source.device
        of_frame = world.chunk_of_frame(self._chunks)
        shown = source_attributes(self._scripts.source, len(of_frame))
        poses = world.simulate(world.random_state(count, device), shown)
        repainted = poses.with_attributes(
            chunk_attributes(self._scripts.captions.attributes, self._segments)[:, of_frame]
        )
        for first in range(0, count, _CLIPS_AT_ONCE):
            rows = slice(first, first + _CLIPS_AT_ONCE)
            for clips, latents in ((poses, self._source), (repainted, self._wanted)):
                latents[rows] = space.encode(world.draw_clip(clips.rows(first, first + _CLIPS_AT_ONCE))[0])

    def batch(self, count: int) -> ClipBatch:
        """Random pairs, with a random paraphrase of each caption."""
        rows = torch.randint(0, len(self._source), (count,), device=self._source.device)
        tokens = pick_tokens(self._scripts.captions.tokens[rows])
        return ClipBatch(
            self._wanted[rows].float(),
            tokens,
            self._segments[rows],
            self._weight[rows],
            self._source[rows].float(),
            torch.ones(count, 1, device=self._source.device),
        )
