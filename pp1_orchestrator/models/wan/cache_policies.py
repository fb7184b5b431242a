"""Which history the KV cache keeps beside the newest frames: small rules that run once before each chunk.

A rule changes keys and values in place, on the cache's device, and never waits for it, so captured passes go on reading
the same memory. Where it compares frames, sums over heads are taken over all ranks: each rank decides alike.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.rope import rotate, time_shift

if TYPE_CHECKING:
    from pp1_orchestrator.models.wan.kv_cache import KVCache


class CacheOptions(msgspec.Struct, frozen=True, kw_only=True):
    """decay: of the averaged sink. threshold: similarity below which a sink frame gives way. bank: frames of the memory
    bank, and record_every: the chunks between two frames that it records."""

    decay: float = 1.0
    threshold: float = -1.0
    bank: int = 0
    record_every: int = 1


class CachePolicy:
    """cache=ring: the sink's frames as they were made, and the newest ones. Base of the other rules."""

    read_together = False
    """The sink is read again, in one pass in which its frames see each other, once all of them are made."""

    def __init__(self, options: CacheOptions) -> None:
        self.options = options
        self.filled = 0
        """Frames of the bank that are in use."""

    @property
    def bank_frames(self) -> int:
        """Frames that the cache holds beside its window."""
        return 0

    def extra_bytes(self, sink_elements: int) -> int:
        """Bytes that the rule keeps outside of the cache, whose sink has so many keys and values in all layers."""
        return 0

    def settled(self, config: WanConfig) -> int:
        """Latent frames after which the cache goes through the same positions again and again."""
        return 2 * config.local_attn_size

    def reset(self) -> None:
        """The history has been dropped."""
        self.filled = 0

    def before_chunk(self, cache: "KVCache", start: int) -> None:
        """The chunk at latent frame `start` comes next, and the one before it is complete."""


class EmaSink(CachePolicy):
    """cache=ema_sink: frames that leave the window are averaged into the sink, with the weight 1 − decay.

    The average is kept in float32: in 16 bits a thousandth would be rounded away. Source: Reward Forcing,
    arXiv:2512.04678. Keys are averaged as if the leaving frames stood at the sink's positions.
    """

    def __init__(self, options: CacheOptions) -> None:
        super().__init__(options)
        self._average: list[tuple[Tensor, Tensor]] = []

    def extra_bytes(self, sink_elements: int) -> int:
        return sink_elements * torch.float32.itemsize

    def reset(self) -> None:
        super().reset()
        self._average.clear()

    def before_chunk(self, cache: "KVCache", start: int) -> None:
        leaving = cache.overwritten_by(start)
        if leaving is None:
            return
        frame, tokens = leaving
        cache.return_sink()
        table = time_shift(cache.head_dim, cache.sink_start - frame, cache.device)
        if not self._average:
            sinks = map(cache.sink, range(cache.layers))
            self._average = [(k.to(torch.float32, copy=True), v.to(torch.float32, copy=True)) for k, v in sinks]
        for layer, (keys, values) in enumerate(self._average):
            old_keys, old_values = cache.part(layer, tokens)
            keys.lerp_(rotate(old_keys.float(), table), 1 - self.options.decay)
            values.lerp_(old_values.float(), 1 - self.options.decay)
            for place, average in zip(cache.sink(layer), (keys, values), strict=True):
                place.copy_(average)


class AdaptiveSink(CachePolicy):
    """cache=adaptive_sink: a finished chunk takes the place of the sink's part that is least like it, if that is less
    like it than `threshold`.

    Likeness: the mean of two cosines, of the keys' and of the values' means over a part's tokens, with all heads as one
    vector. Source: StreamDiffusionV2, arXiv:2511.07399.
    """

    def before_chunk(self, cache: "KVCache", start: int) -> None:
        finished = start - cache.chunk
        parts = cache.sink_frames // cache.chunk
        if finished < cache.origin + cache.sink_frames:
            return
        cache.return_sink()
        tokens = cache.tokens_of(finished)
        layers = [self._compare(cache, layer, tokens, finished) for layer in range(cache.layers)]
        sums = cache.sum_over_heads(torch.stack([sums for sums, _ in layers]))
        dots, own, new = torch.unflatten(sums, -1, (2, 3)).unbind(-1)
        likeness = (dots / (own * new).sqrt().clamp_min(torch.finfo(sums.dtype).tiny)).mean(-1)
        least = likeness.argmin(1, keepdim=True) == torch.arange(parts, device=sums.device)
        gives_way = least & (likeness < self.options.threshold)
        for layer, (_, candidates) in enumerate(layers):
            for part, candidate in enumerate(candidates):
                for place, value in zip(cache.sink_part(layer, part), candidate, strict=True):
                    place.copy_(torch.where(gives_way[layer, part], value, place))

    def _compare(
        self, cache: "KVCache", layer: int, tokens: slice, frame: int
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """[parts, 6]: this rank's sums for each part of the sink, and the finished chunk as it would stand there."""
        keys, values = cache.part(layer, tokens)
        rows: list[Tensor] = []
        candidates: list[tuple[Tensor, Tensor]] = []
        for part in range(cache.sink_frames // cache.chunk):
            moved = cache.at_sink(keys, frame, part)
            candidates.append((moved, values))
            means = [
                (old.double().mean(1).flatten(), new.double().mean(1).flatten())
                for old, new in zip(cache.sink_part(layer, part), (moved, values), strict=True)
            ]
            rows.append(torch.stack([x for old, new in means for x in (old @ new, old @ old, new @ new)]))
        return torch.stack(rows), candidates


class MemoryBank(CachePolicy):
    """cache=memory_bank: every `record_every` chunks the first frame of one is put into a bank beside the window.

    When the bank is full, the frame gives way that the prompt attends to least: by its share of the attention of the
    text's keys to all keys of the bank, as a mean over heads. Source: MemFlow, arXiv:2512.14699.
    """

    @property
    def bank_frames(self) -> int:
        return self.options.bank

    def settled(self, config: WanConfig) -> int:
        fills = (self.options.bank * self.options.record_every + 1) * config.chunk_frames
        return 2 * config.local_attn_size + fills

    def before_chunk(self, cache: "KVCache", start: int) -> None:
        finished = start - cache.chunk
        if (finished - cache.origin) // cache.chunk % self.options.record_every:
            return
        new = slice(cache.tokens_of(finished).start, cache.tokens_of(finished).start + cache.frame_tokens)
        if self.filled < self.options.bank:
            self.filled += 1
            place = cache.bank(self.options.bank - self.filled)
            for layer in range(cache.layers):
                for old, value in zip(cache.part(layer, place), cache.part(layer, new), strict=True):
                    old.copy_(value)
            return
        shares = cache.sum_over_heads(torch.stack([self._shares(cache, layer) for layer in range(cache.layers)]))
        gives_way = shares.argmin(1)
        for layer in range(cache.layers):
            for frame in range(self.options.bank):
                for old, value in zip(cache.part(layer, cache.bank(frame)), cache.part(layer, new), strict=True):
                    old.copy_(torch.where(gives_way[layer] == frame, value, old))

    def _shares(self, cache: "KVCache", layer: int) -> Tensor:
        """[bank] share of each frame in the text's attention to the bank, added over this rank's heads."""
        text = cache.text_keys(layer).transpose(1, 2)
        keys = cache.part(layer, slice(0, self.options.bank * cache.frame_tokens))[0].transpose(1, 2)
        scores = text.float() @ keys.float().transpose(-1, -2) / math.sqrt(cache.head_dim)
        shares = scores.softmax(-1).mean(2).double()
        return torch.unflatten(shares, -1, (self.options.bank, -1)).sum(-1).sum((0, 1))


class Pinned(CachePolicy):
    """cache=pinned: the sink is a world that stays, read again as a whole when its last frame is made.

    Source: LiveWan, whose streams begin with 21 latent frames that see each other.
    """

    read_together = True


CACHES: Mapping[str, Callable[[CacheOptions], CachePolicy]] = {
    "ring": CachePolicy,
    "ema_sink": EmaSink,
    "adaptive_sink": AdaptiveSink,
    "memory_bank": MemoryBank,
    "pinned": Pinned,
}
