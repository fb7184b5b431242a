"""Sizes of a Wan2.1-family transformer. Knows nothing of weights or devices."""

from collections.abc import Callable, Mapping

import msgspec


class WanConfig(msgspec.Struct, frozen=True, kw_only=True):
    """chunk_frames, sink_frames and local_attn_size (the window, with the newest chunk in it) count latent frames."""

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    in_dim: int = 16
    out_dim: int = 16
    text_dim: int = 4096
    text_len: int = 512
    freq_dim: int = 256
    eps: float = 1e-6
    patch_size: tuple[int, int, int] = (1, 2, 2)
    chunk_frames: int = 3
    local_attn_size: int = 21
    sink_frames: int = 0

    @property
    def head_dim(self) -> int:
        return self.dim // self.num_heads

    def tokens_per_frame(self, latent_height: int, latent_width: int) -> int:
        """Tokens of one latent frame of latent_height × latent_width."""
        return (latent_height // self.patch_size[1]) * (latent_width // self.patch_size[2])


def holds_chunks(chunk: int, window: int, sink: int) -> bool:
    """Whether the sink and the ring after it (window − sink) are whole numbers of chunks, the ring at least one."""
    return sink % chunk == 0 and (window - sink) % chunk == 0 and window - sink >= chunk


def check_head_degree(config: WanConfig, degree: int) -> None:
    """Raise ValueError if `degree` sequence-parallel ranks cannot share the heads evenly."""
    if degree < 1 or config.num_heads % degree:
        fits = [d for d in range(1, config.num_heads + 1) if config.num_heads % d == 0]
        raise ValueError(
            f"{degree} sequence-parallel ranks cannot share {config.num_heads} heads; "
            f"possible: {', '.join(map(str, fits))}"
        )


def check_degree(config: WanConfig, degree: int) -> None:
    """Raise ValueError if `degree` ranks cannot share the heads and the feed-forward evenly."""
    if degree < 1 or config.num_heads % degree or config.ffn_dim % degree:
        fits = [d for d in range(1, config.num_heads + 1) if config.num_heads % d == 0 and config.ffn_dim % d == 0]
        raise ValueError(
            f"{degree} tensor-parallel ranks cannot share {config.num_heads} heads and a feed-forward of "
            f"{config.ffn_dim}; possible: {', '.join(map(str, fits))}"
        )


DEGREE_RULES: Mapping[str, Callable[[WanConfig, int], None]] = {"tensor": check_degree, "sequence": check_head_degree}
"""By the name of a way to split the model over ranks: raises ValueError for a degree that it can't have."""
