"""Incremental SHA-256 over arrays in order: two runs that made the same pixels or latents have the same digest.

Knows nothing of torch: a tensor comes in as its numpy view.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt


class ArrayDigest:
    """SHA-256 over the raw bytes of the arrays fed to it; where the stream is cut into chunks makes no difference."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, array: npt.NDArray[np.generic]) -> None:
        """Add an array's bytes in C order. A contiguous array is read in place; any other is copied first."""
        self._hash.update(np.ascontiguousarray(array).data)

    def hexdigest(self) -> str:
        """The digest of everything so far, 64 hexadecimal digits."""
        return self._hash.hexdigest()
