"""The generator's memory of past chunks: preallocated keys and values, written in place as a ring.

Keys are cached after rotation, so attention does not care in which slot a frame lies: when the window is full a new
chunk simply takes the slots of the oldest one. Sink frames, if any, are never overwritten. Indices live on the host.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pp1_orchestrator.models.wan.attention import KeyValue


class KVCache:
    """Keys and values of every layer, [layers][B, capacity, H, D].

    chunk, window and sink count latent frames; window includes the chunk being made. Raises ValueError when the ring
    (window − sink) is not a whole number of chunks.
    """

    def __init__(
        self,
        *,
        layers: int,
        heads: int,
        head_dim: int,
        tokens_per_frame: int,
        chunk: int,
        window: int,
        sink: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if (window - sink) % chunk or window - sink < chunk or sink % chunk:
            raise ValueError(f"a window of {window} frames with {sink} sink frames does not hold chunks of {chunk}")
        self._frame = tokens_per_frame
        self._chunk, self._window, self._sink = chunk, window, sink
        shape = (1, window * tokens_per_frame, heads, head_dim)
        self._keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self._values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self._slot = slice(0, 0)
        self._valid = 0

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in (*self._keys, *self._values))

    def begin(self, start_frame: int) -> None:
        """Choose the slots of the chunk that starts at latent frame `start_frame`. Repeated passes reuse them."""
        if start_frame % self._chunk:
            raise ValueError(f"start frame {start_frame} is not a multiple of the chunk's {self._chunk} frames")
        ring = self._window - self._sink
        first = start_frame if start_frame < self._window else self._sink + (start_frame - self._sink) % ring
        self._slot = slice(first * self._frame, (first + self._chunk) * self._frame)
        self._valid = min(start_frame + self._chunk, self._window) * self._frame

    def write(self, layer: int, k: Tensor, v: Tensor) -> KeyValue:
        """Store the chunk's k, v [B, S, H, D]; return all valid keys and values [B, K, H, D], as views."""
        keys, values = self._keys[layer], self._values[layer]
        keys[:, self._slot] = k
        values[:, self._slot] = v
        return keys[:, : self._valid], values[:, : self._valid]
