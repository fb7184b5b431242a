"""Self-rollout of video to video: streams of the averaged model that start each chunk from an input.

The input goes on whatever the stream makes of it, so the target is known without an expert: the input's poses with what
the caption asks for. A stream that has lost its place learns to come back.
"""

import torch
from torch import Tensor

from training import world
from training.clip_pool import chunk_attributes, chunk_weight
from training.model import CHUNK_FRAMES, TinyModel
from training.rollout import Rollout, RolloutSettings, Tools, choose_segments, stream_chunks
from training.scene_scripts import pick_tokens
from training.streaming import BatchStream, Start, strength_levels
from training.video_scripts import VideoScripts, random_strengths, source_attributes

_HISTORY_FRAMES = 33  # encoded before a rollout, as the streaming encoder remembers what came before


class VideoStreamGroup:
    """Streams of the same age with an input each, in one batch."""

    def __init__(self, settings: RolloutSettings, life: int, scripts: VideoScripts, tools: Tools) -> None:
        self._settings, self._life, self._scripts, self._tools = settings, life, scripts, tools
        self._age = life  # the first advance starts new streams

    def advance(self, model: TinyModel) -> Rollout:
        """Streams the next chunks with `model` and pairs them with the truth."""
        fresh = self._age >= self._life
        if fresh:
            self._begin(model)
        segments = choose_segments(self._settings, self._caption, fresh, quiet=False)
        source, truth = self._next_clips(segments)
        strength = random_strengths(self._drawn)[:, None].expand(segments.shape)
        levels = strength_levels(strength)
        starts = [
            Start(latents, level)
            for latents, level in zip(source.split(CHUNK_FRAMES, 1), levels.unbind(1), strict=True)
        ]
        past = self._stream.past(truth)
        own, inputs = stream_chunks(self._stream, model, self._tokens, segments, self._tools.device, starts)
        weight = chunk_weight(self._wanted, segments, self._caption)
        self._caption = segments[:, -1]
        self._age += 1
        return Rollout(truth.half(), own.half(), inputs.half(), levels, self._tokens, segments, weight, past)

    def _begin(self, model: TinyModel) -> None:
        device, captions = self._tools.device, self._scripts.captions
        rows = torch.randint(0, len(self._scripts.source), (self._settings.streams,), device=device)
        self._wanted, self._tokens = captions.attributes[rows], pick_tokens(captions.tokens[rows])
        frames = len(world.chunk_of_frame(self._life * self._settings.chunks))
        shown = source_attributes(self._scripts.source[rows], frames)
        self._poses = world.simulate(world.random_state(len(rows), device), shown)
        self._frame, self._before = 0, shown[:, :0]
        self._caption = torch.zeros(len(rows), dtype=torch.long, device=device)
        self._drawn = torch.zeros(len(rows), device=device)
        self._stream, self._age = BatchStream(model.generator, self._tools.block), 0

    def _next_clips(self, segments: Tensor) -> tuple[Tensor, Tensor]:
        """The latents of the input and of what it becomes, [R, n·F, c, h, w] each."""
        per_chunk = chunk_attributes(self._wanted, segments)
        if self._frame:
            wanted = per_chunk.repeat_interleave(4 * CHUNK_FRAMES, 1)
        else:
            wanted = per_chunk[:, world.chunk_of_frame(self._settings.chunks)]
        stop = self._frame + wanted.shape[1]
        wanted = torch.cat([self._before, wanted], 1)
        poses = self._poses.frames(stop - wanted.shape[1], stop)
        clips = (poses, poses.with_attributes(wanted))
        source, truth = (self._tools.space.encode(world.draw_clip(clip)[0]) for clip in clips)
        self._frame, self._before = stop, wanted[:, -_HISTORY_FRAMES:]
        kept = self._settings.chunks * CHUNK_FRAMES
        return source[:, -kept:], truth[:, -kept:]
