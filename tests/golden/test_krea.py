"""Krea Realtime: history rebuilt before each chunk with an anchor encoded anew, and weaker attention to it."""

import pytest
import torch

from tests.golden.loading import (
    CONTROL,
    LIMIT,
    DecodeState,
    Golden,
    Model,
    anchored,
    errors,
    load_vae,
    model_options,
    publish,
)

FILE, VAE = Golden("krea"), Golden("wan_vae")
TEXT = FILE["inputs/text"]
LISTS = {name: chosen["timesteps"] for name, chosen in FILE.config["schedule"]["lists"].items()}
SERVER = "five_steps"
"""What Krea's server takes by default."""
BIAS = FILE.config["bias"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return publish(FILE, tmp_path_factory.mktemp("krea"))


@pytest.fixture(scope="module")
def options(path):
    return ["model=krea_14b", *model_options(FILE, path)]


@pytest.fixture(scope="module")
def model(options):
    """Takes exact times; most tests give their own."""
    return Model(*options, "model.warp=false")


@pytest.fixture(scope="module")
def wide_model(path):
    """For latents of 16 × 16, as the numbers of the bias were made with."""
    return Model("model=krea_14b", *model_options(FILE, path, (BIAS["height"], BIAS["width"])), "model.warp=false")


def with_steps(steps):
    return f"model.steps=[{','.join(map(str, steps))}]"


def recorded(name):
    """The recorded history of each chunk."""
    return lambda made: FILE[f"expected/{name}/context"][len(made) - 1]


def sample(model, steps, history):
    """All chunks. steps: () for the configured. history: from the chunks so far to what the cache is rebuilt from."""
    model.restart(TEXT)
    made = []
    for noise, renoise in zip(FILE["inputs/noise"], FILE["inputs/renoise"], strict=True):
        if made:
            model.rebuild(history(made))
        made.append(model.denoise(noise, renoise, steps))
    return made


@pytest.mark.parametrize("name", LISTS)
def test_every_chunk_is_upstreams(options, name):
    made = sample(Model(*options, with_steps(LISTS[name]), "model.warp=false"), (), recorded(name))
    assert max(errors(made, FILE[f"expected/{name}/latents"])) < LIMIT


@pytest.mark.parametrize(("choice", "name"), [("model=krea_14b", SERVER), ("experiment=krea_fast", "four_steps")])
def test_the_configured_steps_are_the_servers(options, choice, name):
    made = sample(Model(choice, *options[1:]), (), recorded(name))
    assert max(errors(made, FILE[f"expected/{name}/latents"])) < LIMIT


class Anchors:
    """The whole loop's history: decodes every chunk, and encodes one frame of it as the first of a stream."""

    def __init__(self, folder):
        widths = f"stage0.widths={VAE.config['vae']['widths']}"
        self._decoder, self._encoder = load_vae("stage0=wan_vae", f"model.vae={publish(VAE, folder)}", widths)
        self._state = DecodeState()
        self.contexts = []

    def __call__(self, made):
        newest = made[-1]
        first = self._decoder.decode(newest[0, :1], self._state)
        self._decoder.decode(newest[0, 1:], self._state)
        anchor = self._encoder.encode(first[-1])[None] if len(made) > 1 else None
        self.contexts.append(anchored(len(made), newest, anchor))
        return self.contexts[-1]


def test_the_whole_loop_with_the_vae_is_upstreams(model, tmp_path):
    history = Anchors(tmp_path)
    made = sample(model, LISTS[SERVER], history)
    assert max(errors(history.contexts, FILE[f"expected/{SERVER}/context"])) < LIMIT
    assert max(errors(made, FILE[f"expected/{SERVER}/latents"])) < LIMIT


def test_a_history_that_is_not_encoded_anew_shows_from_the_third_chunk_on(model):
    found = errors(sample(model, LISTS[SERVER], lambda made: made[-1]), FILE[f"expected/{SERVER}/latents"])
    assert max(found[:2]) < LIMIT
    assert min(found[2:]) > CONTROL


def test_frames_in_another_order_show_from_the_second_chunk_on(model):
    found = errors(
        sample(model, LISTS[SERVER], lambda made: recorded(SERVER)(made).flip(1)), FILE[f"expected/{SERVER}/latents"]
    )
    assert found[0] < LIMIT
    assert min(found[1:]) > CONTROL


def test_other_steps_show(model, options):
    expected = FILE[f"expected/{SERVER}/latents"]
    assert min(errors(sample(model, LISTS[SERVER][:-1], recorded(SERVER)), expected)) > CONTROL
    warped = Model(*options, "model.warp=true")
    assert min(errors(sample(warped, LISTS[SERVER], recorded(SERVER)), expected)) > CONTROL


def biased_flow(model, bias):
    """From the clean latents of one step to the flow that made them."""
    noisy, context = FILE["inputs/bias/noisy"], FILE["inputs/bias/context"]
    model.restart(TEXT)
    model.start = context.shape[1]
    model.rebuild(context)
    clean = model.denoise(noisy, torch.empty(0), [BIAS["timestep"]], bias)
    return (noisy - clean) / BIAS["sigma"]


def test_weaker_attention_to_the_history_is_upstreams(wide_model):
    flows = [biased_flow(wide_model, bias) for bias in (BIAS["value"], 1.0)]
    assert max(errors(flows, [FILE["expected/bias/flow"], FILE["expected/bias/flow_without"]])) < LIMIT


@pytest.mark.parametrize("other", [1.0, 0.31])
def test_another_bias_shows(wide_model, other):
    assert errors([biased_flow(wide_model, other)], [FILE["expected/bias/flow"]])[0] > CONTROL
