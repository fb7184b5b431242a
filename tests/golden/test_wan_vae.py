"""Wan2.1's VAE: a stream decoded chunk by chunk, and frames encoded."""

import pytest
import torch

from tests.golden.loading import (
    CONTROL,
    LIMIT,
    DecodeState,
    EncodeState,
    Golden,
    errors,
    load_stream_encoder,
    load_vae,
    publish,
)

FILE = Golden("wan_vae")
LATENTS = FILE["inputs/latents"]
PIXELS = [FILE[f"expected/pictures/{index}"] for index in range(len(LATENTS))]
ENCODED = [FILE[f"expected/encoded/{index}"] for index in range(3)]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    path = publish(FILE, tmp_path_factory.mktemp("wan_vae"))
    return "stage0=wan_vae", f"model.vae={path}", f"stage0.widths={FILE.config['vae']['widths']}"


@pytest.fixture(scope="module")
def vae(options):
    return load_vae(*options)


@pytest.fixture(scope="module")
def stream_encoder(options):
    return load_stream_encoder(*options)


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


def encoded(encoder, *lengths):
    state, frames = EncodeState(), FILE["inputs/pictures"]
    return torch.cat([encoder.encode(piece, state) for piece in frames.split(lengths)])


@pytest.mark.parametrize("lengths", [(9, 12, 12), (1, *[4] * 8), (33,)], ids=["by chunks", "4 by 4", "in one go"])
def test_a_stream_is_encoded_as_upstream_does(stream_encoder, lengths):
    assert max(errors(encoded(stream_encoder, *lengths).split(3), ENCODED)) < LIMIT


def test_an_encoder_that_forgets_between_chunks_shows(stream_encoder):
    frames = FILE["inputs/pictures"]
    forgetful = [stream_encoder.encode(frames[start : start + 9], EncodeState()) for start in (9, 21)]
    assert min(errors(forgetful, ENCODED[1:])) > CONTROL


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
