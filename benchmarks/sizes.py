"""The generators that benchmarks ask of a GPU, and a small one for a CPU. A chunk is 3 latent frames."""

from dataclasses import dataclass

from pp1_orchestrator.models.wan.config import WanConfig

FRAMES = 3
PIXEL_FRAMES = 4 * FRAMES
STEPS = (1000, 750, 500, 250)


@dataclass(frozen=True)
class Case:
    """rebuild: the context is one chunk read again before each chunk, instead of a clean pass after it."""

    sizes: WanConfig
    height: int
    width: int
    window: int
    rebuild: bool = False

    @property
    def latent_size(self) -> tuple[int, int]:
        return self.height // 8, self.width // 8

    @property
    def chunks_until_steady(self) -> int:
        """Three windows: each position of a full cache has been visited twice, so what is captured is there."""
        return 3 * self.window // FRAMES


_1_3B = WanConfig(dim=1536, ffn_dim=8960, num_heads=12, num_layers=30)
_14B = WanConfig(dim=5120, ffn_dim=13824, num_heads=40, num_layers=40)
_SMALL = WanConfig(dim=192, ffn_dim=640, num_heads=4, num_layers=2, freq_dim=128, text_dim=96, text_len=48)
CASES = {
    "1.3B-320x576": Case(_1_3B, 320, 576, 21),
    "1.3B-480x832": Case(_1_3B, 480, 832, 21),
    "14B-320x576": Case(_14B, 320, 576, 6, rebuild=True),
}
ALL_CASES = CASES | {"small": Case(_SMALL, 64, 64, 6)}
