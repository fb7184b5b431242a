"""Wan2.1's VAE: a stream decoded chunk by chunk, and frames encoded."""

import pytest
import torch

from tests.golden.loading import CONTROL, LIMIT, DecodeState, Golden, errors, load_vae, publish

FILE = Golden("wan_vae")
LATENTS = FILE["inputs/latents"]
PIXELS = [FILE[f"expected/pictures/{index}"] for index in range(len(LATENTS))]


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    path = publish(FILE, tmp_path_factory.mktemp("wan_vae"))
    return load_vae("stage0=wan_vae", f"model.vae={path}", f"stage0.widths={FILE.config['vae']['widths']}")


@pytest.fixture(scope="module")
def decoder(vae):
    return vae[0]


@pytest.fixture(scope="module")
def encoder(vae):
    return vae[1]


def decoded(decoder, latents):
    state = DecodeState()
    return [decoder.decode(chunk, state) for chunk in latents]


def test_a_stream_is_decoded_as_upstream_does(decoder):
    assert max(errors(decoded(decoder, LATENTS), PIXELS)) < LIMIT


def test_a_stream_decoded_in_one_go_is_the_same(decoder):
    whole = decoder.decode(LATENTS.flatten(0, 1), DecodeState())
    assert errors([whole], [torch.cat(PIXELS)])[0] < LIMIT


def test_a_first_frame_is_encoded_as_upstream_does(encoder):
    assert errors([encoder.encode(FILE["inputs/pictures"][0])], [FILE["expected/first_picture_latent"]])[0] < LIMIT


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="only single frames can be encoded, not a stream whose frames depend on earlier ones",
)
@pytest.mark.parametrize("piece", [0, 1, 2])
def test_a_stream_is_encoded_as_upstream_does(encoder, piece):
    """A latent frame stands for the first frame, then for four frames each, of which the last is encoded here."""
    ends = [0, *range(4, len(FILE["inputs/pictures"]), 4)][3 * piece : 3 * piece + 3]
    latents = torch.cat([encoder.encode(FILE["inputs/pictures"][end]) for end in ends])
    assert errors([latents], [FILE[f"expected/encoded/{piece}"]])[0] < LIMIT


def test_a_decoder_that_forgets_between_chunks_shows(decoder):
    forgetful = [decoder.decode(chunk, DecodeState()) for chunk in LATENTS]
    assert min(errors(forgetful[1:], [pixels[-9:] for pixels in PIXELS[1:]])) > CONTROL


@pytest.mark.parametrize("statistic", ["mean", "deviation"])
def test_a_mean_or_a_deviation_one_percent_off_shows(decoder, statistic):
    mean, deviation = (torch.tensor(FILE.config["vae"][f"latents_{key}"]).view(-1, 1, 1) for key in ("mean", "std"))
    off = LATENTS + 0.01 * mean / deviation if statistic == "mean" else 1.01 * LATENTS
    assert min(errors(decoded(decoder, off), PIXELS)) > CONTROL


def test_another_frame_shows(encoder):
    assert errors([encoder.encode(FILE["inputs/pictures"][1])], [FILE["expected/first_picture_latent"]])[0] > CONTROL
