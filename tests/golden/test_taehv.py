"""TAEHV: a stream decoded chunk by chunk, and frames encoded. Its own pixels are in 0…1, ours in −1…1."""

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

FILE = Golden("taehv")
LATENTS = FILE["inputs/latents"]
PIXELS = [FILE[f"expected/pictures/{index}"] for index in range(len(LATENTS))]
WIDE = FILE.config["published"]["wider_than_needed"]


def options(folder, kind="taehv", weights=None):
    path = publish(FILE, folder, weights)
    return f"stage0={kind}", f"stage0.file={path}", f"stage0.widths={FILE.config['vae']['widths']}"


def load(folder, kind="taehv", weights=None):
    return load_vae(*options(folder, kind, weights))


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return load(tmp_path_factory.mktemp("taehv"))


@pytest.fixture(scope="module")
def decoder(vae):
    return vae[0]


@pytest.fixture(scope="module")
def encoder(vae):
    return vae[1]


def decoded(decoder):
    state = DecodeState()
    return [(decoder.decode(chunk, state) + 1) / 2 for chunk in LATENTS]


def encoded(encoder, frame):
    return encoder.encode(2 * frame - 1)


def test_a_stream_is_decoded_as_upstream_does(decoder):
    assert max(errors(decoded(decoder), PIXELS)) < LIMIT


def test_a_first_frame_is_encoded_as_upstream_does(encoder):
    latent = encoded(encoder, FILE["inputs/pictures"][0])
    assert errors([latent], [FILE["expected/first_picture_latent"]])[0] < LIMIT


def encoded_video(folder, kind="taehv", lengths=(12,)):
    """The file's video starts with whole latent frames, so its state is that of a started stream."""
    encoder, state = load_stream_encoder(*options(folder, kind)), EncodeState(started=True)
    return torch.cat([encoder.encode(2 * piece - 1, state) for piece in FILE["inputs/pictures"].split(lengths)])


@pytest.mark.parametrize("lengths", [(12,), (4, 4, 4), (8, 4)])
def test_a_video_is_encoded_as_upstream_does(tmp_path, lengths):
    assert errors([encoded_video(tmp_path, lengths=lengths)], [FILE["expected/encoded"]])[0] < LIMIT


def test_a_video_encoded_for_latents_with_mean_and_deviation_shows(tmp_path):
    assert errors([encoded_video(tmp_path, "lighttae")], [FILE["expected/encoded"]])[0] > CONTROL


def test_a_decoder_that_forgets_between_chunks_shows(decoder):
    forgetful = [(decoder.decode(chunk, DecodeState()) + 1) / 2 for chunk in LATENTS]
    assert min(errors(forgetful[1:], [pixels[-9:] for pixels in PIXELS[1:]])) > CONTROL


def test_latents_with_mean_and_deviation_put_back_show(tmp_path):
    decoder, encoder = load(tmp_path, "lighttae")
    assert min(errors(decoded(decoder), PIXELS)) > CONTROL
    latent = encoded(encoder, FILE["inputs/pictures"][0])
    assert errors([latent], [FILE["expected/first_picture_latent"]])[0] > CONTROL


def test_the_last_outputs_of_a_layer_wider_than_needed_are_the_ones(tmp_path):
    weights = FILE.below("weights/")
    for key in WIDE:
        weights[key] = weights[key].roll(len(weights[key]) // 2, 0)
    decoder, _ = load(tmp_path, weights=weights)
    assert min(errors(decoded(decoder), PIXELS)) > CONTROL
