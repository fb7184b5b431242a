"""The requirements object: what it says of the shipped model, and what it refuses."""

import msgspec
import pytest

from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.schedule import NoiseStep
from pp1_orchestrator.planning.inputs_outputs import requirements
from tests.planning.factories import settings, shipped


def test_the_shipped_model():
    made = settings()
    needs = requirements(made, shipped(made))
    assert needs.input_frames == 0
    assert (needs.height, needs.width, needs.size_multiple) == (128, 128, 16)
    assert (needs.chunk_latent_frames, needs.chunk_pixel_frames, needs.first_chunk_pixel_frames) == (3, 12, 9)
    assert needs.schedule == tuple(NoiseStep(t, t / 1000) for t in (1000.0, 750.0, 500.0, 250.0))
    assert (needs.latents, needs.text) == ((1, 3, 16, 16, 16), (1, 48, 96))
    assert (needs.latent_bytes, needs.realtime_period_ms) == (49152, 750.0)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["stream.height=100"], "stream.height=100: must be a multiple of 16, such as 96 or 112"),
        (["stream.width=8"], "stream.width=8: must be a multiple of 16, such as 16"),
        (["model.steps=[250,500]"], "model.steps=[250.0, 500.0]: denoising steps [250.0, 500.0] must fall"),
        (["model.steps=[]"], "model.steps=[]: denoising steps [] must fall"),
    ],
)
def test_the_impossible_is_refused(options, line):
    made = settings(*options)
    with pytest.raises(ConfigError) as refused:
        requirements(made, shipped(made))
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize("shift", ["1e-30", "0", "-1.0", "1001", "inf", "nan"])
def test_a_shift_that_gives_no_noise_levels_is_refused(shift):
    with pytest.raises(ConfigError, match=f"model.shift={shift}: expected"):
        settings(f"model.shift={shift}")


@pytest.mark.parametrize("window", [2, 10])
def test_a_window_of_broken_chunks_is_refused(window):
    made = settings()
    config = msgspec.structs.replace(shipped(made), local_attn_size=window)
    with pytest.raises(ConfigError, match=f"model.window.frames={window}: .* whole chunks of 3"):
        requirements(made, config)
