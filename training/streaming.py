"""Streams a batch chunk by chunk, with a cache of the last chunks.

The maths is that of `CausalGenerator` (four x0 predictions with fresh noise between them, then a clean pass at t = 0),
but each stream of the batch has its own captions and, with an input, its own strength. Knows nothing of targets or
losses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue, attend
from pp1_orchestrator.models.wan.model import Block, CausalWanModel
from pp1_orchestrator.models.wan.rope import RopeTable, rope_table
from training.model import CHUNK_FRAMES, LATENT_SHAPE, STEPS, WINDOW_CHUNKS
from training.teacher_forcing import Past, clip_rope
from training.world.constants import constant


def chunk_block(
    block: Block, x: Tensor, time: Tensor, text: KeyValue, rope: RopeTable, past: KeyValue | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One block on one chunk: x [B, S, C], time [B, 6, C], past [B, P·S, H, D] -> x, and the chunk's k and v."""
    mod = block.modulate(time)
    q, k, v = block.attention_inputs(x, mod, rope)
    keys, values = (k, v) if past is None else (torch.cat([past[0], k], 1), torch.cat([past[1], v], 1))
    return block.finish(x, attend(q, keys, values), text, mod), k, v


ChunkBlock = Callable[[Block, Tensor, Tensor, KeyValue, RopeTable, KeyValue | None], tuple[Tensor, Tensor, Tensor]]


@dataclass(slots=True)
class Start:
    """What a chunk starts from with an input.

    Args:
        latents: of the input, [B, F, c, h, w].
        levels: the noise level of each step, [B, steps]. The first one's noise is mixed into the input.
    """

    latents: Tensor
    levels: Tensor


def strength_levels(strength: Tensor) -> Tensor:
    """The noise levels for strengths [...]: the usual ones, each times the strength, [..., steps]."""
    return strength[..., None] * constant(STEPS, strength) / 1000


class BatchStream:
    """B streams of the same age. `block` may be a compiled `chunk_block`."""

    def __init__(self, model: CausalWanModel, block: ChunkBlock = chunk_block) -> None:
        self._model, self._block = model, block
        self._past: list[KeyValue] | None = None
        self._frame = 0
        self._rope: RopeTable | None = None

    def past(self, clip: Tensor) -> Past | None:
        """The keys and values of the last W chunks, for the next clip [B, n·F, c, h, w]; None at the start."""
        if self._past is None:
            return None
        return Past(list(self._past), clip_rope(self._model.config, self._frame, clip))

    @torch.no_grad()
    def predict(self, latents: Tensor, time: Tensor, text: Sequence[KeyValue]) -> tuple[Tensor, list[KeyValue]]:
        """The flow of the next chunk [B, F, c, h, w] at diffusion times [B], and the chunk's keys and values."""
        model, (frames, _, height, width) = self._model, latents.shape[1:]
        if self._rope is None:
            shape = (frames, height // 2, width // 2)
            self._rope = rope_table(model.config.head_dim, self._frame, *shape, latents.device)
        x = model.patchify(latents).float()
        head_time, block_time = model.embed_time(time)
        head_time, block_time = head_time.float(), block_time.float()
        made: list[KeyValue] = []
        for index, block in enumerate(model.block_list()):
            past = None if self._past is None else self._past[index]
            x, k, v = self._block(block, x, block_time, text[index], self._rope, past)
            made.append((k, v))
        return model.unpatchify(model.head(x, head_time).float(), frames, height, width), made

    @torch.no_grad()
    def denoise(
        self, text: Sequence[KeyValue], batch: int, device: torch.device, start: Start | None = None
    ) -> list[Tensor]:
        """The x0 estimates after each of the steps, [B, F, c, h, w]; the last one is the chunk."""
        shape = (batch, CHUNK_FRAMES, *LATENT_SHAPE)
        if start is None:
            start = Start(torch.zeros(shape, device=device), strength_levels(torch.ones(batch, device=device)))
        inputs = [start.latents]
        for level in start.levels.unbind(1):
            sigma = level[:, None, None, None, None]
            x = torch.lerp(inputs[-1], torch.randn(shape, device=device), sigma)
            flow, _ = self.predict(x, 1000 * level, text)
            inputs.append(x - sigma * flow)
        return inputs[1:]

    @torch.no_grad()
    def commit(self, latents: Tensor, text: Sequence[KeyValue]) -> None:
        """Adds a chunk to the cache by a clean pass."""
        _, made = self.predict(latents, torch.zeros(len(latents), device=latents.device), text)
        tokens = made[0][0].shape[1]
        if self._past is None:
            self._past = made
        else:
            self._past = [
                (_append(old[0], new[0], tokens), _append(old[1], new[1], tokens))
                for old, new in zip(self._past, made, strict=True)
            ]
        self._frame += latents.shape[1]
        self._rope = None

    def next(self, text: Sequence[KeyValue], batch: int, device: torch.device, start: Start | None = None) -> Tensor:
        """Denoises and commits one chunk."""
        chunk = self.denoise(text, batch, device, start)[-1]
        self.commit(chunk, text)
        return chunk


def _append(old: Tensor, new: Tensor, tokens: int) -> Tensor:
    return torch.cat([old, new], 1)[:, -WINDOW_CHUNKS * tokens :].contiguous()


def compiled_chunk_block() -> ChunkBlock:
    """`chunk_block`, compiled once for any length of past."""
    compiled = torch.compile(chunk_block)

    def run(
        block: Block, x: Tensor, time: Tensor, text: KeyValue, rope: RopeTable, past: KeyValue | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        for tensor in past or ():
            torch._dynamo.maybe_mark_dynamic(tensor, 1)
        return compiled(block, x, time, text, rope, past)

    return run
