"""What settings are checked against of the built-in strategies, by name; the same as their classes have.

Imports no torch: a setting that a strategy can't have is refused before the seconds that torch takes.
"""

from collections.abc import Mapping
from typing import Literal

EncoderHome = Literal["rank0", "leader"]

HOMES: Mapping[str, EncoderHome] = {"rank0_encoder": "rank0", "mesh_encoder": "leader", "hybrid_cache": "leader"}
"""Of routings: which rank holds the text encoder."""
QUEUES: Mapping[str, tuple[str, ...]] = {
    "stage0_owned": ("d_in", "d_out"),
    "decode_thread": ("d_out",),
    "loop_ahead": (),
    "sync": (),
}
"""Of overlaps: which of the bounds d_in and d_out may be above 1."""
REBUILDS: Mapping[str, bool] = {
    "clean_pass": False,
    "none": False,
    "recompute_anchor": True,
    "recompute_synthetic": True,
    "recompute_latent": True,
}
"""Of contexts: whether the cache is rebuilt before a chunk."""
