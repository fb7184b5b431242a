"""Every model of `conf/`: a checkpoint of its published layout is known at full size, and runs at a small one.

Only names, shapes and containers are the real ones: no published file is needed.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file

from pp1_orchestrator.app.check_report import differences, matching
from pp1_orchestrator.app.strategy_registry import check
from pp1_orchestrator.config.families import read_families
from pp1_orchestrator.config.load_settings import load_settings
from pp1_orchestrator.config.validate import generator_config
from pp1_orchestrator.loading.scan_weights import scan
from pp1_orchestrator.mesh.build_generator import load_weights, make_generator
from pp1_orchestrator.models.checkpoints.header import ShapesOnly
from pp1_orchestrator.models.checkpoints.reader import check_shapes
from pp1_orchestrator.models.wan.load_generator import whole_shapes
from pp1_orchestrator.models.wan.sampler import initial_noise
from pp1_orchestrator.models.wan.tensor_parallel import Place
from pp1_orchestrator.models.wan.wan_state_dict import FROM_DIFFUSERS, in_our_names
from tests.app.sparse_files import sparse_pickle, sparse_safetensors
from tests.planning.factories import CONF, settings

State = dict[str, torch.Tensor]
Change = Callable[[State], State]
SIZES = {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2, "freq_dim": 32, "text_dim": 48, "text_len": 20}
ALONE, CPU = Place(0, 1), torch.device("cpu")
TO_DIFFUSERS = {
    "time_embedding.0.": "condition_embedder.time_embedder.linear_1.",
    "time_embedding.2.": "condition_embedder.time_embedder.linear_2.",
    "text_embedding.0.": "condition_embedder.text_embedder.linear_1.",
    "text_embedding.2.": "condition_embedder.text_embedder.linear_2.",
    "time_projection.1.": "condition_embedder.time_proj.",
    "head.head.": "proj_out.",
    "modulation": "scale_shift_table",
    "ffn.0.": "ffn.net.0.proj.",
    "ffn.2.": "ffn.net.2.",
    "norm3.": "norm2.",
    "self_attn.": "attn1.",
    "cross_attn.": "attn2.",
    ".o.": ".to_out.0.",
    ".q.": ".to_q.",
    ".k.": ".to_k.",
    ".v.": ".to_v.",
}


def same(state: State) -> State:
    return state


def prefixed(state: State) -> State:
    return {f"model.{key}": value for key, value in state.items()}


def wrapped(state: State) -> State:
    """As saved from FSDP with activation checkpointing."""
    return {f"model._fsdp_wrapped_module.{key}".replace(".self", "._checkpoint_wrapped_module.self"): value
            for key, value in state.items()}  # fmt: skip


def linear_patches(state: State) -> State:
    return state | {"patch_embedding.weight": state["patch_embedding.weight"].flatten(1)}


def diffusers(state: State) -> State:
    renamed = {}
    for key, value in state.items():
        for ours, theirs in TO_DIFFUSERS.items():
            key = key.replace(ours, theirs)
        renamed[key.replace("head.scale_shift_table", "scale_shift_table")] = value
    return renamed


def in_8_bits(state: State) -> State:
    """Matrices of blocks with a scale for each row, as LightX2V reads them; shapes alone on the meta device."""
    out = {}
    for key, value in state.items():
        if not (key.startswith("blocks.") and value.dim() == 2):
            out[key] = value
            continue
        scale = value.abs().amax(1, keepdim=True).float().clamp_min(1e-12) / 448
        out[key] = (value / scale).to(torch.float8_e4m3fn)
        out[f"{key}_scale"] = scale
    return prefixed(out)


def lora_of(shapes: Mapping[str, torch.Size]) -> State:
    rng = torch.Generator().manual_seed(5)
    linear = [key for key, shape in shapes.items() if key.startswith("blocks.") and len(shape) == 2]
    halves = {}
    for key in linear:
        name = f"base_model.model.{key.removesuffix('.weight')}"
        halves[f"{name}.lora_A.weight"] = 0.1 * torch.randn(4, shapes[key][1], generator=rng)
        halves[f"{name}.lora_B.weight"] = 0.1 * torch.randn(shapes[key][0], 4, generator=rng)
    return halves


class Layout(NamedTuple):
    """How a family publishes: sections of a pickle (none: bare), or safetensors; what is done to names and values."""

    file: str
    change: Change
    sections: tuple[str, ...] = ()
    lora: bool = False


SELF_FORCING = ("generator_ema", "generator", "critic")
LAYOUTS = {
    "model=wan2_1_1_3b": Layout("checkpoints/self_forcing_dmd.pt", wrapped, SELF_FORCING),
    "experiment=longlive": Layout("models/longlive_base.pt", prefixed, ("generator",), lora=True),
    "model=krea_14b": Layout("krea-realtime-video-14b.safetensors", prefixed),
    "model=causal_forcing": Layout("chunkwise/causal_forcing.pt", prefixed, SELF_FORCING),
    "model=causal_forcing_framewise": Layout("framewise/causal_forcing.pt", prefixed, SELF_FORCING),
    "model=causal_forcing_2step": Layout("causal-forcing++/framewise-2step.pt", prefixed, SELF_FORCING),
    "model=causal_forcing_1step": Layout("causal-forcing++/framewise-1step.pt", prefixed, SELF_FORCING),
    "experiment=reward_forcing": Layout("rewardforcing.pt", prefixed),
    "experiment=memflow": Layout("base.pt", prefixed, ("generator",), lora=True),
    "model=livewan": Layout("checkpoints/t14b_b64/milestones/step002250_noema.pt", same),
    "model=streamdiffusion_v2": Layout("wan_causal_dmd_v2v/model.pt", same, ("generator",)),
    "model=streamdiffusion_v2_14b": Layout("wan_causal_dmd_v2v_14b/model.pt", prefixed, ("generator",)),
    "model=causal_rcm": Layout("Causal_rCM_Wan2.1_T2V_1.3B_480p_TF-dCM-init_SF-DMD_c1-1_step4.pt", linear_patches),
    "model=self_forcing_fp8": Layout("self_forcing_fp8.safetensors", in_8_bits),
    "model=sfwan_diffusers": Layout("transformer/diffusion_pytorch_model.safetensors", diffusers),
}
OF_OTHERS = {"model=tiny", "experiment=krea_fast"}
"""Of the first the files are in the repository; the second has another's."""
each = pytest.mark.parametrize("option", LAYOUTS)


def test_every_family_has_its_layout_here():
    assert {family.option for family in read_families()} == LAYOUTS.keys() | OF_OTHERS
    assert len(LAYOUTS) >= 12


def test_the_names_of_diffusers_are_those_that_are_read():
    assert len(TO_DIFFUSERS) >= len(FROM_DIFFUSERS) - 1


def published_shapes(option, shapes):
    """Names and shapes of the published file, from the transformer's."""
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in shapes.items()}
    return {key: tuple(value.shape) for key, value in LAYOUTS[option].change(state).items()}


def family_of(option):
    return next(family for family in read_families() if family.option == option)


@each
def test_a_file_of_full_size_is_the_family_s(tmp_path, option):
    layout, model = LAYOUTS[option], family_of(option).model
    config = generator_config(settings(option, "model.weights=random").model)
    shapes = published_shapes(option, whole_shapes(config))
    whole = {f"{section}/{key}": shape for section in layout.sections for key, shape in shapes.items()} or shapes
    renamed = in_our_names(ShapesOnly(tmp_path, whole), model.ema).shapes()
    check_shapes(tmp_path, "generator", whole_shapes(config), renamed)

    path = tmp_path / layout.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if layout.file.endswith(".safetensors"):
        sparse_safetensors(path, shapes)
    else:
        sparse_pickle(path, dict.fromkeys(layout.sections, shapes) if layout.sections else {"": shapes})
    found = scan(path, model.ema).files[0]
    assert (found.kind, found.missing, found.unexpected, found.problem) == ("generator", (), (), None)
    if layout.sections:
        assert found.section == ("generator_ema" if model.ema and "generator_ema" in layout.sections else "generator")
    if model.hub.generator is not None and not model.hub.generator.endswith("/"):
        assert matching(found, "tiny")[0].option == option
    made = settings(option)
    assert [line for line in differences(made, family_of(option)) if not line.startswith("model.sizes")] == []


def small_state():
    config = generator_config(settings(*small_options("model=wan2_1_1_3b", "x")).model)
    rng = torch.Generator().manual_seed(0)
    return {
        key: torch.randn(shape, generator=rng) * (0.3 if len(shape) < 2 else shape[-1] ** -0.5) + (len(shape) == 1)
        for key, shape in whole_shapes(config).items()
    }


def small_options(option, path):
    sizes = [f"model.sizes.{key}={value}" for key, value in SIZES.items()]
    return ["layout=inline", "run=bench", option, f"model.generator={path}", "model.dtype=float32", *sizes,
            "stream.height=32", "stream.width=32"]  # fmt: skip


def publish(folder, layout, state):
    path = folder / layout.file
    path.parent.mkdir(parents=True, exist_ok=True)
    published = {key: value.contiguous() for key, value in layout.change(state).items()}
    if layout.file.endswith(".safetensors"):
        save_file(published, path)
    elif not layout.sections:
        torch.save(published, path)
    else:
        wrong = {key: 1.5 * value for key, value in published.items()}
        torch.save(dict.fromkeys(layout.sections, wrong) | {READ[layout.sections]: published}, path)
    return path


READ = {SELF_FORCING: "generator_ema", ("generator",): "generator"}


def latents(options):
    """Some chunks of a family's own schedule, window and cache, from these settings."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        made = load_settings(compose("config", options))
    config, _ = check(made, {"bench"})
    generator, _ = make_generator(load_weights(made, config, ALONE, CPU), made, config, ALONE)
    generator.set_text(torch.randn(1, config.text_len, config.text_dim, generator=torch.Generator().manual_seed(1)))
    chunk, out = config.chunk_frames, []
    shape = (1, chunk, config.in_dim, 4, 4)
    for start in range(0, config.local_attn_size + 2 * chunk, chunk):
        steps = made.model.steps if start else made.model.first_steps or made.model.steps
        out.append(generator.denoise(initial_noise(7, start, shape), steps, start, 7))
        generator.write_context(out[-1], start)
    return torch.cat(out, 1)


@pytest.mark.parametrize("sections", [(), ("generator",), SELF_FORCING], ids=["bare", "one", "both"])
def test_reward_forcing_is_read_from_any_container(tmp_path, sections):
    """Its authors run it with the average; programs that read the published file differ in what it has."""
    layout, state = Layout("rewardforcing.pt", wrapped, sections), small_state()
    path = publish(tmp_path, layout, state)
    made = settings(*small_options("experiment=reward_forcing", path))
    loaded = load_weights(made, check(made, {"bench"})[0], ALONE, CPU)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


@each
def test_a_file_of_small_size_loads_and_runs(tmp_path, option):
    """As the same numbers do under Wan2.1's own names."""
    layout, state = LAYOUTS[option], small_state()
    ema = family_of(option).model.ema
    if layout.sections == SELF_FORCING and not ema:
        layout = layout._replace(sections=("generator",))
    path, extra = publish(tmp_path, layout, state), []
    wanted = dict(state)
    if layout.lora:
        halves = lora_of({key: value.shape for key, value in state.items()})
        torch.save({"generator_lora": halves}, tmp_path / "lora.pt")
        extra = [f"model.lora={tmp_path / 'lora.pt'}"]
        for key in [key for key in state if f"base_model.model.{key.removesuffix('.weight')}.lora_A.weight" in halves]:
            name = f"base_model.model.{key.removesuffix('.weight')}"
            wanted[key] = state[key] + halves[f"{name}.lora_B.weight"] @ halves[f"{name}.lora_A.weight"]
    if layout.change is in_8_bits:
        stored = in_8_bits(state)
        for key in [key for key in stored if key.endswith("_scale")]:
            matrix = key.removesuffix("_scale")
            wanted[matrix.removeprefix("model.")] = stored[matrix].float() * stored[key]
        assert not torch.equal(wanted["blocks.0.ffn.0.weight"], state["blocks.0.ffn.0.weight"])
    save_file(wanted, tmp_path / "plain.safetensors")
    found = latents([*small_options(option, path), *extra])
    plain = latents([*small_options(option, tmp_path / "plain.safetensors"), "model.lora=null"])
    assert torch.isfinite(found).all()
    if layout.lora:
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-4)
    else:
        assert torch.equal(found, plain)
