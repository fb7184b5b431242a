"""Keys and values of past chunks: preallocated, and written in place as a ring.

Keys are cached after rotation, so it does not matter to attention in which slot a frame is: when the window is full, a
new chunk takes the slots of the oldest one. Sink frames are never overwritten. Indices live on the host.

With relative positions the sink comes directly before the oldest frame of the ring, however long the stream is (as in
Infinity-RoPE, arXiv:2511.20649). Only differences of positions count, so that is the same as numbering the slots of the
window anew before each chunk, and only the sink's keys have to be rotated again.

A policy (`cache_policies`) may change the sink, or keep frames in a bank that lies before it in memory.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue, attend, biased_attention
from pp1_orchestrator.models.wan.cache_policies import CacheOptions, CachePolicy
from pp1_orchestrator.models.wan.config import WanConfig, holds_chunks
from pp1_orchestrator.models.wan.rope import rotate, time_shift


class KVCache:
    """Keys and values of every layer, [layers][B, capacity, H, D], and attention over them.

    `attention` is the function used where all keys weigh the same; it may be replaced. Of `degree` tensor-parallel
    ranks, `rank` caches its own heads, and `all_reduce` sums over all of them. relative: the sink moves along with the
    window. policy: by default, the plain ring. `text`: keys and values of the prompt, by layer, for policies.
    Raises ValueError if the ring (window − sink) is not a whole number of chunks.
    """

    def __init__(
        self,
        config: WanConfig,
        latent_size: tuple[int, int],
        *,
        degree: int = 1,
        rank: int = 0,
        all_reduce: Callable[[Tensor], Tensor] | None = None,
        relative: bool = False,
        policy: CachePolicy | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        chunk, window, sink = config.chunk_frames, config.local_attn_size, config.sink_frames
        if not holds_chunks(chunk, window, sink):
            raise ValueError(f"a window of {window} frames with {sink} sink frames does not hold chunks of {chunk}")
        self.policy = policy or CachePolicy(CacheOptions())
        self.frame_tokens = config.tokens_per_frame(*latent_size)
        self.chunk, self.window, self.sink_frames, self.head_dim = chunk, window, sink, config.head_dim
        self._heads, self._first_head = config.num_heads // degree, rank * (config.num_heads // degree)
        self._all_reduce = all_reduce if degree > 1 else None
        self._first = self.policy.bank_frames * self.frame_tokens
        """The first token of the window; the bank's frames end there."""
        shape = (1, self._first + window * self.frame_tokens, self._heads, config.head_dim)
        self._keys, self._values = (
            [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_layers)] for _ in range(2)
        )
        self.origin, self._slot, self._valid, self._bias = 0, slice(0, 0), 0, 1.0
        self._newest: int | None = None
        self._read_until = 0
        copied = sink * self.frame_tokens if relative else 0
        self._sink_keys = [torch.empty_like(keys[:, :copied]) for keys in self._keys]
        """The sink's keys as they were written, from frame `sink_start` on, kept at the first `_shift`."""
        self._relative, self.sink_start, self._shift = copied > 0, 0, 0
        self._settled = self.policy.settled(config)
        self.attention = attend
        self.text: Sequence[KeyValue] = ()

    @property
    def nbytes(self) -> int:
        held = sum(t.nbytes for t in (*self._keys, *self._values, *self._sink_keys))
        sink = 2 * self.layers * self.sink(0)[0].numel()
        return held + self.policy.extra_bytes(sink)

    @property
    def settled(self) -> int:
        """Latent frames after which all positions have been seen."""
        return self._settled

    def rebase(self, frame: int, keep_sink: bool = False, read_again: int = 0) -> None:
        """Drop the history. Latent frame `frame` gets the first slot; earlier frames are refused from now on.

        keep_sink: the sink's frames and the bank stay, and `frame` gets the first slot after the sink. read_again: how
        many frames are history that is written anew, during which the policy does nothing.
        """
        kept = self.sink_frames if keep_sink else 0
        if frame < kept or frame % self.chunk:
            raise ValueError(f"frame {frame} begins no chunk of {self.chunk} frames after {kept} sink frames")
        self.origin = frame - kept
        if not keep_sink:
            self.sink_start, self._shift = frame, 0
            self.policy.reset()
        self._slot, self._valid = slice(0, 0), 0
        self._newest, self._read_until = None, frame + read_again

    def room(self, keep_sink: bool) -> int:
        """Latent frames that can be written after `rebase` before the oldest of them are overwritten."""
        return self.window - self.sink_frames if keep_sink else self.window

    def begin(self, start_frame: int, bias: float = 1.0, end_frame: int = 0) -> None:
        """Select the slots of the chunk that starts at latent frame `start_frame`. Repeated passes reuse them.

        end_frame: the chunk also sees the frames after it that come before this one; they must fit the window.
        Until the next `begin`, ln(bias) is added to the scores of all keys between the first cached frame and this
        chunk. Raises ValueError for a bias after the ring has wrapped, since the first frame is overwritten then.
        """
        if start_frame % self.chunk:
            raise ValueError(f"start frame {start_frame} is not a multiple of the chunk's {self.chunk} frames")
        since = start_frame - self.origin
        if since < 0:
            raise ValueError(f"start frame {start_frame} comes before the history's first frame {self.origin}")
        if not bias > 0:
            raise ValueError(f"an attention bias must be above 0, not {bias}")
        if bias != 1 and since + self.chunk > self.window:
            raise ValueError(
                f"an attention bias needs the whole history in the window of {self.window} frames, "
                f"and frame {start_frame} is {since} frames after its first"
            )
        if not end_frame and start_frame >= self._read_until and self._newest == start_frame - self.chunk:
            self.policy.before_chunk(self, start_frame)
        self._newest = start_frame
        self._slot = self.tokens_of(start_frame)
        seen = max(since + self.chunk, end_frame - self.origin)
        self._valid = min(seen, self.window) * self.frame_tokens
        self._bias = bias
        if self._relative:
            self._move_sink(max(self.origin, self.origin + seen - self.window) - self.sink_start)

    def tokens_of(self, start_frame: int) -> slice:
        """Where the chunk that starts at this latent frame is, while it is in the window."""
        since, ring = start_frame - self.origin, self.window - self.sink_frames
        first = since if since < self.window else self.sink_frames + (since - self.sink_frames) % ring
        return self._window_part(first, self.chunk)

    def overwritten_by(self, start_frame: int) -> tuple[int, slice] | None:
        """First frame and tokens of the chunk whose slots the one at `start_frame` takes; None if they are free."""
        if start_frame - self.origin < self.window:
            return None
        return start_frame - (self.window - self.sink_frames), self.tokens_of(start_frame)

    def return_sink(self) -> None:
        """Undo how the sink's keys were moved: they stand where they were written, from frame `sink_start` on."""
        if self._shift:
            for keys, written in zip(self._keys, self._sink_keys, strict=True):
                keys[:, self._first : self._first + written.shape[1]].copy_(written)
            self._shift = 0

    def _move_sink(self, shift: int) -> None:
        """Rotate the sink's keys to `shift` frames after those at which they were written."""
        if shift == self._shift:
            return
        table = time_shift(self.head_dim, shift, self.device)
        for keys, written in zip(self._keys, self._sink_keys, strict=True):
            moved = keys[:, self._first : self._first + written.shape[1]]
            if not self._shift:
                written.copy_(moved)
            moved.copy_(rotate(written, table))
        self._shift = shift

    def at_sink(self, keys: Tensor, frame: int, part: int) -> Tensor:
        """Keys of a chunk that starts at `frame`, as they would be in the sink's chunk number `part`.

        Only where the sink moves are they turned; elsewhere a frame keeps its own place in time.
        """
        if not self._relative:
            return keys
        return rotate(keys, time_shift(self.head_dim, self.sink_start + part * self.chunk - frame, self.device))

    @property
    def position(self) -> tuple[int, int, int, float]:
        """The cache state that a pass depends on: passes at equal positions read and write the same memory."""
        return self._slot.start, self._valid, self.policy.filled, self._bias

    @property
    def layers(self) -> int:
        return len(self._keys)

    @property
    def device(self) -> torch.device:
        return self._keys[0].device

    def slots(self, layer: int) -> KeyValue:
        """Views to write the chunk's keys and values to, [B, S, H, D] each."""
        return self.part(layer, self._slot)

    def attend(self, layer: int, q: Tensor) -> Tensor:
        """Attend to all valid keys, including the chunk's own: q [B, S, H, D] -> [B, S, H·D]."""
        middle = slice(self.frame_tokens, self._slot.start)
        if self._bias == 1 or middle.start >= middle.stop:
            return self.attention(q, *self.visible(layer))
        anchor, own = (self.part(layer, part) for part in (slice(0, self.frame_tokens), self._slot))
        full = torch.cat([anchor[0], own[0]], dim=1), torch.cat([anchor[1], own[1]], dim=1)
        return biased_attention(q, full, self.part(layer, middle), self._bias)

    def visible(self, layer: int) -> KeyValue:
        """All keys and values that the current chunk attends to, [B, K, H, D], as views."""
        begin = self._first - self.policy.filled * self.frame_tokens
        return self.part(layer, slice(begin, self._first + self._valid))

    def sink(self, layer: int) -> KeyValue:
        """Views of the sink's keys and values."""
        return self.part(layer, self._window_part(0, self.sink_frames))

    def sink_part(self, layer: int, part: int) -> KeyValue:
        """Views of the sink's chunk number `part`."""
        return self.part(layer, self._window_part(part * self.chunk, self.chunk))

    def bank(self, frame: int) -> slice:
        """The tokens of a frame of the bank."""
        return slice(frame * self.frame_tokens, (frame + 1) * self.frame_tokens)

    def part(self, layer: int, tokens: slice) -> KeyValue:
        """Views of the keys and values of some tokens."""
        return self._keys[layer][:, tokens], self._values[layer][:, tokens]

    def text_keys(self, layer: int) -> Tensor:
        """The prompt's keys, [B, L, H, D], of the heads that this rank caches."""
        keys = self.text[layer][0]
        return keys if keys.shape[2] == self._heads else keys.narrow(2, self._first_head, self._heads)

    def sum_over_heads(self, sums: Tensor) -> Tensor:
        """Sums over this rank's heads -> over all heads."""
        return sums if self._all_reduce is None else self._all_reduce(sums)

    def _window_part(self, first: int, frames: int) -> slice:
        start = self._first + first * self.frame_tokens
        return slice(start, start + frames * self.frame_tokens)
