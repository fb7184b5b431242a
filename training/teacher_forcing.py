"""Runs the generator over whole clips in one pass: a clean and a noisy stream of chunks side by side.

Chunk i of either stream attends to itself and to the clean chunks of its window. An optional past has the keys and
values of the chunks before the clip, from a running stream. The blocks are those of the package's transformer.

Shapes: B clips, n chunks, S tokens a chunk, R = 2·B·n rows (clean rows first), W window in chunks, L text tokens.
"""

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
    """What a clip needs of the stream before it.

    Args:
        keys_values: of the last W chunks in every block, [B, W·S, H, D] each.
        rope: the table of the clip's own latent frames.
    """

    keys_values: Sequence[KeyValue]
    rope: RopeTable


def _windows(keys: Tensor, own: Tensor, first: int, last: int, reach: int) -> Tensor:
    """What chunks first…last−1 of both streams attend to: `reach` clean chunks of keys [B, P + n, S, H, D], and own
    [2, B, last − first, S, H, D] -> [rows, (reach + 1)·S, H, D]."""
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
    # Chunks whose past is shorter than the window are computed one by one, the others together.
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
    """One block over both streams: x [R, S, C] -> [R, S, C].

    Args:
        time: [R, 6, C].
        context: two captions of each clip, [2·B, L, C].
        second: whether a chunk has the second caption, [B, n].
    """
    mod = block.modulate(time)
    q, k, v = (t.unflatten(0, (2, *second.shape)) for t in block.attention_inputs(x, mod, rope))
    attended = _attend(block, q, k, v, past)
    text_k, text_v = block.cross_attn.text_kv(context)
    return block.finish(x, attended, (_choose(text_k, second), _choose(text_v, second)), mod)


def _choose(captions: Tensor, second: Tensor) -> Tensor:
    """The caption of each row, [2·B, L, H, D] -> [R, L, H, D]. Unlike that of a gather, its gradient is a plain sum."""
    first, other = captions.unflatten(0, (-1, 1, 2)).unbind(2)
    chosen = torch.where(second[..., None, None, None], other, first)
    return chosen.expand(2, -1, -1, -1, -1, -1).flatten(0, 2)


ClipBlock = Callable[[Block, Tensor, Tensor, Tensor, Tensor, RopeTable, KeyValue | None], Tensor]


def clip_rope(config: WanConfig, start: int, latents: Tensor) -> RopeTable:
    """The table of a clip [B, n·F, c, h, w] whose first latent frame has index `start` in its stream."""
    _, frames, _, height, width = latents.shape
    return rope_table(config.head_dim, start, frames, height // 2, width // 2, latents.device)


def _rope_rows(table: RopeTable, batch: int, chunks: int) -> RopeTable:
    """Repeats the table for every row, [R, S, 1, D/2]. Both streams have the same positions."""
    return table.unflatten(0, (chunks, -1)).repeat(2 * batch, 1, 1, 1)


class ClipGenerator:
    """Runs a generator over whole clips. `block` may be a compiled `clip_block`."""

    def __init__(self, model: CausalWanModel, block: ClipBlock = clip_block) -> None:
        self._model, self._block = model, block

    def __call__(
        self, clean: Tensor, noisy: Tensor, time: Tensor, text: Tensor, segments: Tensor, past: Past | None = None
    ) -> Tensor:
        """The flow of every noisy chunk, [B, n·F, c, h, w] float32.

        Args:
            clean, noisy: [B, n·F, c, h, w].
            time: in 0…1000, [B, n].
            text: two captions of each clip, [B, 2, L, text_dim].
            segments: the caption of each chunk, 0 or 1, [B, n].
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
