"""Keys and values of past chunks: preallocated, and written in place as a ring.

Keys are cached after rotation, so it does not matter to attention in which slot a frame is: when the window is full, a
new chunk takes the slots of the oldest one. Sink frames are never overwritten. Indices live on the host.

With relative positions the sink comes directly before the oldest frame of the ring, however long the stream is (as in
Infinity-RoPE, arXiv:2511.20649). Only differences of positions count, so that is the same as numbering the slots of the
window anew before each chunk, and only the sink's keys have to be rotated again.
"""

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue, attend, biased_attention
from pp1_orchestrator.models.wan.config import WanConfig, holds_chunks
from pp1_orchestrator.models.wan.rope import rotate, time_shift


class KVCache:
    """Keys and values of every layer, [layers][B, capacity, H, D], and attention over them.

    `attention` is the function used where all keys weigh the same; it may be replaced. Each of `degree` tensor-parallel
    ranks caches its own heads. relative: the sink moves along with the window.
    Raises ValueError if the ring (window − sink) is not a whole number of chunks.
    """

    def __init__(
        self,
        config: WanConfig,
        latent_size: tuple[int, int],
        *,
        degree: int = 1,
        relative: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        chunk, window, sink = config.chunk_frames, config.local_attn_size, config.sink_frames
        if not holds_chunks(chunk, window, sink):
            raise ValueError(f"a window of {window} frames with {sink} sink frames does not hold chunks of {chunk}")
        self._frame = config.tokens_per_frame(*latent_size)
        self.chunk, self.window, self._sink = chunk, window, sink
        shape = (1, window * self._frame, config.num_heads // degree, config.head_dim)
        self._keys, self._values = (
            [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_layers)] for _ in range(2)
        )
        self._origin, self._slot, self._valid, self._bias = 0, slice(0, 0), 0, 1.0
        copied = sink * self._frame if relative else 0
        self._sink_keys = [torch.empty_like(keys[:, :copied]) for keys in self._keys]
        """The sink's keys as they were written, from frame `_written` on, kept at the first `_shift`."""
        self._relative, self._written, self._shift = copied > 0, 0, 0
        self.attention = attend

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in (*self._keys, *self._values, *self._sink_keys))

    def rebase(self, frame: int, keep_sink: bool = False) -> None:
        """Drop the history. Latent frame `frame` gets the first slot; earlier frames are refused from now on.

        keep_sink: the sink's frames stay, and `frame` gets the first slot after them.
        """
        kept = self._sink if keep_sink else 0
        if frame < kept or frame % self.chunk:
            raise ValueError(f"frame {frame} begins no chunk of {self.chunk} frames after {kept} sink frames")
        self._origin = frame - kept
        if not keep_sink:
            self._written, self._shift = frame, 0
        self._slot, self._valid = slice(0, 0), 0

    def room(self, keep_sink: bool) -> int:
        """Latent frames that can be written after `rebase` before the oldest of them are overwritten."""
        return self.window - self._sink if keep_sink else self.window

    def begin(self, start_frame: int, bias: float = 1.0, end_frame: int = 0) -> None:
        """Select the slots of the chunk that starts at latent frame `start_frame`. Repeated passes reuse them.

        end_frame: the chunk also sees the frames after it that come before this one; they must fit the window.
        Until the next `begin`, ln(bias) is added to the scores of all keys between the first cached frame and this
        chunk. Raises ValueError for a bias after the ring has wrapped, since the first frame is overwritten then.
        """
        if start_frame % self.chunk:
            raise ValueError(f"start frame {start_frame} is not a multiple of the chunk's {self.chunk} frames")
        since = start_frame - self._origin
        if since < 0:
            raise ValueError(f"start frame {start_frame} comes before the history's first frame {self._origin}")
        if not bias > 0:
            raise ValueError(f"an attention bias must be above 0, not {bias}")
        if bias != 1 and since + self.chunk > self.window:
            raise ValueError(
                f"an attention bias needs the whole history in the window of {self.window} frames, "
                f"and frame {start_frame} is {since} frames after its first"
            )
        ring = self.window - self._sink
        first = since if since < self.window else self._sink + (since - self._sink) % ring
        self._slot = slice(first * self._frame, (first + self.chunk) * self._frame)
        seen = max(since + self.chunk, end_frame - self._origin)
        self._valid = min(seen, self.window) * self._frame
        self._bias = bias
        if self._relative:
            self._move_sink(max(self._origin, self._origin + seen - self.window) - self._written)

    def _move_sink(self, shift: int) -> None:
        """Rotate the sink's keys to `shift` frames after those at which they were written."""
        if shift == self._shift:
            return
        table = time_shift(self._keys[0].shape[-1], shift, self._keys[0].device)
        for keys, written in zip(self._keys, self._sink_keys, strict=True):
            moved = keys[:, : written.shape[1]]
            if not self._shift:
                written.copy_(moved)
            moved.copy_(rotate(written, table))
        self._shift = shift

    @property
    def position(self) -> tuple[int, int, float]:
        """The cache state that a pass depends on: passes at equal positions read and write the same memory."""
        return self._slot.start, self._valid, self._bias

    def slots(self, layer: int) -> KeyValue:
        """Views to write the chunk's keys and values to, [B, S, H, D] each."""
        return self._part(layer, self._slot)

    def attend(self, layer: int, q: Tensor) -> Tensor:
        """Attend to all valid keys, including the chunk's own: q [B, S, H, D] -> [B, S, H·D]."""
        middle = slice(self._frame, self._slot.start)
        if self._bias == 1 or middle.start >= middle.stop:
            return self.attention(q, *self.visible(layer))
        anchor, own = (self._part(layer, part) for part in (slice(0, self._frame), self._slot))
        full = torch.cat([anchor[0], own[0]], dim=1), torch.cat([anchor[1], own[1]], dim=1)
        return biased_attention(q, full, self._part(layer, middle), self._bias)

    def visible(self, layer: int) -> KeyValue:
        """All keys and values that the current chunk attends to, [B, K, H, D], as views."""
        return self._part(layer, slice(0, self._valid))

    def _part(self, layer: int, tokens: slice) -> KeyValue:
        return self._keys[layer][:, tokens], self._values[layer][:, tokens]
