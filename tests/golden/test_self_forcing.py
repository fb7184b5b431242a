"""Self-Forcing: denoising, clean pass, and a window of 12 frames that moves."""

import pytest

from tests.golden.loading import CONTROL, LIMIT, Golden, Model, errors, model_options, publish

FILE = Golden("self_forcing")
TEXT = FILE["inputs/text"]
CHUNKS = FILE.config["latent"]["chunks"]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return ["model=wan2_1_1_3b", *model_options(FILE, publish(FILE, tmp_path_factory.mktemp("self_forcing")))]


def sample(model, text=TEXT, clean_pass=True):
    """All chunks."""
    model.restart(text)
    made = []
    for noise, renoise in zip(FILE["inputs/noise"], FILE["inputs/renoise"], strict=True):
        made.append(model.denoise(noise, renoise))
        if clean_pass:
            model.write_context(made[-1])
    return made


def largest_error(made):
    return max(errors(made, FILE["expected/latents"]))


@pytest.fixture(scope="module")
def model(options):
    return Model(*options)


def test_every_chunk_is_upstreams(model):
    assert max(errors(sample(model), FILE["expected/latents"])) < LIMIT


def test_every_step_of_the_first_chunk_is_upstreams(model):
    noise, renoise = FILE["inputs/noise"][0], FILE["inputs/renoise"][0]
    nominal, sigmas = FILE.config["schedule"]["steps"], FILE.config["schedule"]["sigmas"]
    x, flows, cleans = noise, [], []
    for index, sigma in enumerate(sigmas):
        model.restart(TEXT)
        if index:
            x = (1 - sigma) * cleans[-1] + sigma * renoise[index - 1]
        cleans.append(model.denoise(noise, renoise, nominal[: index + 1]))
        flows.append((x - cleans[-1]) / sigma)
    assert max(errors(cleans, FILE["expected/first_chunk_x0"])) < LIMIT
    assert max(errors(flows, FILE["expected/first_chunk_flow"])) < LIMIT


@pytest.mark.parametrize(
    ("change", "right"),
    [
        ("model.ema=false", 0),
        ("model.warp=false", 0),
        ("model.shift=3", 0),
        ("model.window.frames=9", 3),
        ("model.window.frames=15", 4),
        ("model.window.sink=3", 4),
    ],
)
def test_another_setting_shows_from_the_chunk_on_that_it_changes(options, change, right):
    found = errors(sample(Model(*options, change)), FILE["expected/latents"])
    assert max(found[:right], default=0) < LIMIT
    assert min(found[right:]) > CONTROL


def test_without_clean_pass_or_the_texts_empty_rows_it_is_another_video(model):
    found = errors(sample(model, clean_pass=False), FILE["expected/latents"])
    assert found[0] < LIMIT
    assert min(found[1:]) > CONTROL
    short = sample(model, TEXT[:, : FILE.config["text"]["tokens"]])
    assert min(errors(short, FILE["expected/latents"])) > CONTROL
