"""Wan2.1 without any file: random weights, the real code at tiny sizes, with every decoder that rank 0 can have."""

import pytest
from hydra import compose, initialize_config_dir

from pp1_orchestrator.app.strategy_registry import STRATEGIES, check
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.planning import part_profiles as modules
from pp1_orchestrator.planning.profile import profile_model
from tests.system.in_process import CONF, open_stream, run_script

CHUNKS = 2
SMALL = (
    "model=wan2_1_1_3b", "model.weights=random", "model.dtype=float32", "model.root=/nowhere",
    "model.sizes={dim: 48, ffn_dim: 64, num_heads: 2, num_layers: 2, text_dim: 24, text_len: 16}",
    "text_encoder.sizes={vocab: 300, dim: 24, ffn_dim: 32, num_heads: 2, head_dim: 8, num_layers: 2}",
    "stream.height=32", "stream.width=48",
)  # fmt: skip
WIDTHS = {
    "wan_vae": "[8,16,32,32]",
    "lightvae": "[2,4,8,8]",
    "taehv": "[16,8,4,4]",
    "lighttae": "[16,8,4,4]",
}


def made(*choices: str):
    """What a stream of random weights makes, in figures and as pictures; and what its plan said of memory."""
    summary, run = run_script(*SMALL, *choices, chunks=CHUNKS)
    planned = profile_model(run.settings, check(run.settings, {"bench"})[0], STRATEGIES).components
    return summary, run.sink.chunks, planned


@pytest.mark.parametrize("stage0", WIDTHS)
def test_every_decoder_makes_a_stream_without_any_file(stage0):
    anchored = ("context=recompute_anchor", "text_encoder.device=cpu", "text_encoder.int8=true")
    summary, chunks, planned = made(f"stage0={stage0}", f"stage0.widths={WIDTHS[stage0]}", *anchored)
    assert summary.frames == 9 + 12 * (CHUNKS - 1)
    assert chunks[0].frames.shape == (9, 32, 48, 3)
    assert chunks[0].frames.float().std() > 1
    assert summary.load_s.keys() == {"pixels", "prompts"}
    held = summary.memory["0"]
    for component in ("vae", "vae_encoder", "text_encoder", "decode_cache"):
        assert held[component] == planned[component] > 0


def test_the_same_seed_makes_the_same_pixels_and_another_others():
    digests = [
        made("stage0=taehv", f"stage0.widths={WIDTHS['taehv']}", f"seed={seed}")[0].pixels_sha256 for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        ("stage0.widths=[8,16,32]", "stage0.widths=[8, 16, 32]: needs 4 numbers, one for each resolution"),
        ("stage0.widths=[8,12,32,32]", "widths [8, 12, 32, 32]: whole multiples of the first"),
        ("text_encoder.sizes.dim=32", "embeddings are 32 wide; the generator takes 24"),
    ],
)
def test_what_can_not_be_is_one_line(choice, line):
    with pytest.raises(ConfigError) as caught, open_stream(*SMALL, f"stage0.widths={WIDTHS['wan_vae']}", choice):
        pass
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_real_sizes_are_known_without_any_file():
    """On the meta device, in the sizes of `conf/`: UMT5-XXL, Wan2.1's decoder and a TAEHV, in bfloat16."""
    settings = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for stage0 in ("wan_vae", "taehv"):
            settings[stage0] = load_settings(compose("config", ["model=wan2_1_1_3b", f"stage0={stage0}"]))
    assert modules.weight_bytes(modules.text_encoder(settings["wan_vae"])) == 2 * 5_680_910_336
    large, small = (
        modules.vae(made, STRATEGIES.decoder(made), frame_encoder=False).decoder.weight_bytes
        for made in settings.values()
    )
    assert large > 6 * small > 0
