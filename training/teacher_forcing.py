"""The generator over whole clips in one pass: a clean stream and a noisy stream of chunks, side by side.

Chunk i of either stream attends to itself and to the clean chunks of its window. An optional past gives the keys and
values of the chunks before the clip, as a running stream left them. Composes the pieces of the package's transformer.

Shapes: B clips, n chunks, S tokens a chunk, R = 2·B·n rows (clean rows first), W window in chunks, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue, attend
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.model import Block, CausalWanModel
from pp1_orchestrator.models.wan.rope import RopeTable, rope_table
from training.model import CHUNK_FRAMES, WINDOW_CHUNKS


@dataclass(slots=True)
class Past:
    """What a running stream hands to the clip that follows: every block's keys and values of the last W chunks,
    [B, W·S, H, D] each, and the rotary table of the clip's own latent frames."""

    keys_values: Sequence[KeyValue]
    rope: RopeTable


def _windows(keys: Tensor, own: Tensor, first: int, last: int, reach: int) -> Tensor:
    """What chunks first…last−1 of both streams attend to. keys [B, P + n, S, H, D]: clean chunks, of which `first`
    begins at index `first`; own [2, B, last − first, S, H, D] -> [rows, (reach + 1)·S, H, D]."""
    seen = [keys[:, first + i : last + i].expand(2, -1, -1, -1, -1, -1) for i in range(reach)]
    return torch.cat([*seen, own], 3).flatten(0, 2)


def _attend(block: Block, q: Tensor, k: Tensor, v: Tensor, past: KeyValue | None) -> Tensor:
    """q, k, v [2, B, n, S, H, D] -> [R, S, C]."""
    chunks, tokens = q.shape[2:4]
    keys, values = k[0], v[0]
    before = 0
    if past is not None:
        keys = torch.cat([past[0].unflatten(1, (-1, tokens)), keys], 1)
        values = torch.cat([past[1].unflatten(1, (-1, tokens)), values], 1)
        before = WINDOW_CHUNKS
    # Chunks with a shorter past than the window are taken one by one, the others together.
    short = max(0, min(WINDOW_CHUNKS - before, chunks))
    groups = [(i, i + 1, i) for i in range(short)]
    if chunks > short:
        groups.append((short, chunks, WINDOW_CHUNKS))
    out = []
    for first, last, reach in groups:
        start, stop = first + before - reach, last + before - reach
        picked = q[:, :, first:last]
        attended = attend(
            picked.flatten(0, 2),
            _windows(keys, k[:, :, first:last], start, stop, reach),
            _windows(values, v[:, :, first:last], start, stop, reach),
        )
        out.append(attended.unflatten(0, picked.shape[:3]))
    return torch.cat(out, 2).flatten(0, 2)


def clip_block(
    block: Block,
    x: Tensor,
    time: Tensor,
    context: Tensor,
    second: Tensor,
    rope: RopeTable,
    past: KeyValue | None,
) -> Tensor:
    """One block over both streams: x [R, S, C], time [R, 6, C], context [2·B, L, C] two captions a clip, second [B, n]
    whether a chunk has the second one -> [R, S, C]."""
    mod = block.modulate(time)
    q, k, v = (t.unflatten(0, (2, *second.shape)) for t in block.attention_inputs(x, mod, rope))
    attended = _attend(block, q, k, v, past)
    text_k, text_v = block.cross_attn.text_kv(context)
    return block.finish(x, attended, (_choose(text_k, second), _choose(text_v, second)), mod)


def _choose(captions: Tensor, second: Tensor) -> Tensor:
    """Each row's caption, [2·B, L, H, D] -> [R, L, H, D]. A choice, not a gather: its gradient is a plain sum."""
    first, other = captions.unflatten(0, (-1, 1, 2)).unbind(2)
    chosen = torch.where(second[..., None, None, None], other, first)
    return chosen.expand(2, -1, -1, -1, -1, -1).flatten(0, 2)


ClipBlock = Callable[[Block, Tensor, Tensor, Tensor, Tensor, RopeTable, KeyValue | None], Tensor]


def clip_rope(config: WanConfig, start: int, latents: Tensor) -> RopeTable:
    """The table of a clip [B, n·F, c, h, w] whose first latent frame is number `start` of its stream."""
    _, frames, _, height, width = latents.shape
    return rope_table(config.head_dim, start, frames, height // 2, width // 2, latents.device)


def _rope_rows(table: RopeTable, batch: int, chunks: int) -> RopeTable:
    """The table for every row, [R, S, 1, D/2]: both streams have the same positions."""
    return table.unflatten(0, (chunks, -1)).repeat(2 * batch, 1, 1, 1)


class ClipGenerator:
    """Runs a generator over whole clips. `block` may be a compiled `clip_block`."""

    def __init__(self, model: CausalWanModel, block: ClipBlock = clip_block) -> None:
        self._model, self._block = model, block

    def __call__(
        self, clean: Tensor, noisy: Tensor, time: Tensor, text: Tensor, segments: Tensor, past: Past | None = None
    ) -> Tensor:
        """Flow of every noisy chunk.

        clean, noisy [B, n·F, c, h, w]; time [B, n] in 0…1000; text [B, 2, L, text_dim] two captions of each clip;
        segments [B, n] which of them (0 or 1) each chunk has -> [B, n·F, c, h, w] float32.
        """
        model, (batch, frames, _, height, width) = self._model, noisy.shape
        chunks = frames // CHUNK_FRAMES
        latents = torch.cat([clean, noisy]).unflatten(1, (chunks, CHUNK_FRAMES)).flatten(0, 1)
        # The residual stream stays float32 under autocast.
        x = model.patchify(latents).float()
        head_time, block_time = model.embed_time(torch.cat([torch.zeros_like(time), time]).flatten())
        head_time, block_time = head_time.float(), block_time.float()
        context = model.text_embedding(text.flatten(0, 1))
        second = segments > 0
        table = clip_rope(model.config, 0, clean) if past is None else past.rope
        rope = _rope_rows(table, batch, chunks)
        for index, block in enumerate(model.block_list()):
            layer_past = None if past is None else past.keys_values[index]
            x = self._block(block, x, block_time, context, second, rope, layer_past)
        half = batch * chunks
        patches = model.head(x[half:], head_time[half:]).float()
        return model.unpatchify(patches, CHUNK_FRAMES, height, width).reshape(noisy.shape)
