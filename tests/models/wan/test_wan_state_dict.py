"""Every layout in which a Wan2.1 transformer is kept, at its full set of keys: all are placed, none is left."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.models.checkpoints.reader import open_weights
from pp1_orchestrator.models.wan.load_generator import load_generator, open_generator, read_part
from pp1_orchestrator.models.wan.tensor_parallel import Place, ShardPlan, parallelize
from pp1_orchestrator.models.wan.wan_state_dict import in_our_names, with_lora
from tests.models.checkpoints import factories as made

CPU = torch.device("cpu")
LAYERS = 2
RANK = 3


def wan_single(folder: Path, state, layers) -> None:
    save_file(state, folder / "diffusion_pytorch_model.safetensors")


def wan_shards(folder: Path, state, layers) -> None:
    made.save_shards(state, folder, "diffusion_pytorch_model", 6)


def diffusers(folder: Path, state, layers) -> None:
    made.save_shards(made.in_diffusers_names(state, layers), folder, "diffusion_pytorch_model", 2)


def self_forcing(folder: Path, state, layers) -> None:
    """EMA under FSDP's names, and beside it the last weights and the critic's."""
    last, critic = made.prefixed(made.other(state), "model."), made.prefixed(state, "model.")
    torch.save({"generator": last, "critic": critic, "generator_ema": made.as_trained(state)}, folder / "dmd.pt")


def longlive(folder: Path, state, layers) -> None:
    torch.save({"generator": made.as_trained(state), "step": 3000}, folder / "longlive_base.pt")


def longlive_plain(folder: Path, state, layers) -> None:
    torch.save({"model": made.prefixed(state, "model.")}, folder / "longlive_base.pt")


def krea(folder: Path, state, layers) -> None:
    save_file(made.prefixed(state, "model."), folder / "krea-realtime-video-14b.safetensors")


def stream_diffusion(folder: Path, state, layers) -> None:
    """Some names with the prefix and some without: its own loader adds what is missing."""
    half = {name if i % 2 else f"model.{name}": tensor for i, (name, tensor) in enumerate(state.items())}
    torch.save({"state_dict": half}, folder / "model.pt")


def bare(folder: Path, state, layers) -> None:
    torch.save(state, folder / "model.pth")


LAYOUTS = [
    wan_single, wan_shards, diffusers, self_forcing, longlive, longlive_plain, krea, stream_diffusion, bare,
]  # fmt: skip


@pytest.fixture(scope="module", params=list(made.DEPTHS))
def whole(request):
    """(sizes, tensors) at the depth of a real model, with widths scaled down."""
    layers = made.DEPTHS[request.param]
    state = made.state(layers)
    assert len(state) == made.COUNTS[request.param]
    return made.sizes(layers), state


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_keys_are_placed_and_none_is_left(tmp_path, whole, layout):
    config, state = whole
    layout(tmp_path, state, config.num_layers)
    loaded = load_generator(tmp_path, config, CPU, torch.float32).state_dict()
    assert loaded.keys() == state.keys()
    assert [name for name, tensor in state.items() if not torch.equal(loaded[name], tensor)] == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [Place(0, 2), Place(1, 2)], ids=str)
def test_a_rank_reads_its_part_from_every_layout(tmp_path, layout, place):
    config, state = made.sizes(LAYERS), made.state(LAYERS)
    layout(tmp_path, state, LAYERS)
    plan = ShardPlan()
    part = read_part(config, open_generator(tmp_path, config), place, plan, CPU, torch.float32)
    wanted = parallelize(load_generator(tmp_path, config, CPU, torch.float32), place, plan).state_dict()
    assert part.keys() == wanted.keys()
    assert all(torch.equal(part[name], tensor) for name, tensor in wanted.items())


def read_all(path, ema=True):
    weights = open_generator(path, made.sizes(LAYERS), ema)
    return {name: weights.read(name) for name in weights.shapes()}


def differing(found, wanted):
    return [name for name, tensor in wanted.items() if not torch.equal(found[name], tensor)]


def test_the_norm_before_the_text_is_diffusers_second_and_wans_third(tmp_path):
    """Both are named norm and both fit: only the numbers tell."""
    state = made.state(LAYERS)
    theirs = made.in_diffusers_names(state, LAYERS)
    assert torch.equal(theirs["blocks.1.norm2.weight"], state["blocks.1.norm3.weight"])
    save_file(theirs, tmp_path / "model.safetensors")
    assert torch.equal(read_all(tmp_path)["blocks.1.norm3.weight"], state["blocks.1.norm3.weight"])


def test_queries_and_keys_of_both_attentions_stay_apart(tmp_path):
    """All eight matrices of a block have one shape."""
    state = made.state(LAYERS)
    save_file(made.in_diffusers_names(state, LAYERS), tmp_path / "model.safetensors")
    assert differing(read_all(tmp_path), {name: t for name, t in state.items() if "_attn." in name}) == []


@pytest.mark.parametrize("ema", [True, False])
def test_averaged_or_last_weights_are_a_choice(tmp_path, ema):
    state = made.state(LAYERS)
    self_forcing(tmp_path, state, LAYERS)
    assert differing(read_all(tmp_path, ema), state if ema else made.other(state)) == []


@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("section", ["generator", "generator_ema", "state_dict"])
def test_the_only_weights_of_a_file_are_taken_either_way(tmp_path, ema, section):
    state = made.state(LAYERS)
    torch.save({section: made.prefixed(state, "model."), "critic": made.other(state)}, tmp_path / "m.pt")
    assert differing(read_all(tmp_path, ema), state) == []


@pytest.mark.parametrize("wrapper", ["_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod."])
@pytest.mark.parametrize("before", ["blocks.1.", "self_attn.", "q.", ""])
def test_what_training_wraps_a_module_in_is_taken_off_wherever_it_stands(tmp_path, wrapper, before):
    state = made.state(LAYERS)
    wrapped = {name.replace(before, before + wrapper, 1) if before else wrapper + name: t for name, t in state.items()}
    save_file(wrapped, tmp_path / "model.safetensors")
    assert differing(read_all(tmp_path), state) == []


@pytest.mark.parametrize("owner", ["model.", "module.", "model.diffusion_model.", "module.model."])
def test_an_owners_name_is_taken_off(tmp_path, owner):
    state = made.state(LAYERS)
    save_file(made.prefixed(state, owner), tmp_path / "model.safetensors")
    assert differing(read_all(tmp_path), state) == []


def test_two_tensors_for_one_place_are_refused(tmp_path):
    state = made.state(LAYERS)
    save_file(state | {"model.head.head.bias": torch.zeros(20)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"head\.head\.bias are both head\.head\.bias"):
        open_generator(tmp_path, made.sizes(LAYERS))


def test_a_file_with_only_a_critic_is_another_model(tmp_path):
    torch.save({"critic": made.state(LAYERS)}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"m\.pt does not hold this generator: missing: .*unexpected: critic/"):
        open_generator(tmp_path, made.sizes(LAYERS))


def test_an_image_to_video_model_is_another_model(tmp_path):
    state = made.state(LAYERS)
    extra = {"img_emb.proj.0.weight": torch.zeros(4), "blocks.0.cross_attn.k_img.weight": torch.zeros(8, 8)}
    save_file(state | extra, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"unexpected: blocks\.0\.cross_attn\.k_img\.weight \(8, 8\), img_emb"):
        open_generator(tmp_path, made.sizes(LAYERS))


# Low-rank changes.


def save_lora(path: Path, tensors, section: str | None = "generator_lora") -> Path:
    torch.save({section: tensors} if section else tensors, path)
    return path


def merged(state, factors, scale):
    """W + scale · B·A in float64."""
    out = dict(state)
    for key, down in factors.items():
        if ".lora_A." in key:
            name = key.removeprefix("base_model.model.").replace(".lora_A", "")
            change = factors[key.replace("lora_A", "lora_B")].double() @ down.double()
            out[name] = (state[name].double() + scale * change).float()
    return out


@pytest.fixture
def longlive_files(tmp_path):
    state, factors = made.state(LAYERS), made.lora(LAYERS, RANK)
    (tmp_path / "base").mkdir()
    longlive(tmp_path / "base", state, LAYERS)
    return tmp_path / "base", save_lora(tmp_path / "lora.pt", factors), state, factors


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (RANK, 1.0), (2 * RANK, 2.0), (0.5 * RANK, 0.5)])
def test_changes_are_added_in_proportion_to_alpha_over_rank(longlive_files, alpha, scale):
    base, lora, state, factors = longlive_files
    config = made.sizes(LAYERS)
    wanted = merged(state, factors, scale)
    assert len(differing(wanted, state)) == len(made.LINEARS) * LAYERS
    weights = open_generator(base, config, lora=lora, lora_alpha=alpha)
    for place in (Place(0, 1), Place(0, 2), Place(1, 2)):
        plan = ShardPlan()
        part = read_part(config, weights, place, plan, CPU, torch.float32)
        whole = load_generator(base, config, CPU, torch.float32)
        whole.load_state_dict(wanted)
        for name, tensor in parallelize(whole, place, plan).state_dict().items():
            torch.testing.assert_close(part[name], tensor, msg=f"{name} at {place}")


def test_changes_are_added_before_numbers_are_rounded(tmp_path):
    """Rounded first, 257 would be 256, and 256.75 would be 256 again."""
    base = {"blocks.0.ffn.0.weight": torch.full((2, 2), 257.0)}
    factors = {
        "blocks.0.ffn.0.lora_A.weight": torch.full((2, 2), 0.375),
        "blocks.0.ffn.0.lora_B.weight": torch.ones(2, 2),
    }
    save_file(base, tmp_path / "base.safetensors")
    save_file(factors, tmp_path / "lora.safetensors")
    weights = with_lora(
        in_our_names(open_weights(tmp_path / "base.safetensors"), ema=True),
        open_weights(tmp_path / "lora.safetensors"),
        alpha=None,
    )
    found = weights.read("blocks.0.ffn.0.weight", dtype=torch.bfloat16)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, torch.full((2, 2), 258.0).bfloat16())
    assert weights.read("blocks.0.ffn.0.weight").dtype == torch.float32


@pytest.mark.parametrize(("section", "rename"), [
    (None, lambda key: key),
    ("generator_lora", lambda key: key.replace("base_model.model.", "base_model.model.model.")),
    ("generator_lora", lambda key: key.replace(".weight", ".default.weight")),
    (None, lambda key: key.replace("blocks.1.", "blocks.1._fsdp_wrapped_module.")),
])  # fmt: skip
def test_changes_are_found_under_all_their_names(longlive_files, tmp_path, section, rename):
    base, _, state, factors = longlive_files
    lora = save_lora(tmp_path / "other.pt", {rename(key): tensor for key, tensor in factors.items()}, section)
    weights = open_generator(base, made.sizes(LAYERS), lora=lora)
    wanted = merged(state, factors, 1.0)
    for name in wanted:
        torch.testing.assert_close(weights.read(name), wanted[name])


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda f: f.pop("base_model.model.blocks.0.ffn.0.lora_B.weight"), "lora_A.weight without its other half"),
    (lambda f: f.update({"blocks.9.ffn.0.lora_A.weight": torch.zeros(3, 8),
                         "blocks.9.ffn.0.lora_B.weight": torch.zeros(12, 3)}),
     "blocks.9.ffn.0.lora_B.weight changes blocks.9.ffn.0.weight no such matrix"),
    (lambda f: f.update({"base_model.model.blocks.0.ffn.0.lora_B.weight": torch.zeros(8, 3)}),
     r"changes blocks.0.ffn.0.weight \(12, 8\)"),
    (lambda f: f.update({"base_model.model.blocks.0.ffn.0.lora_B.weight": torch.zeros(12, 4)}),
     r"changes blocks.0.ffn.0.weight \(12, 8\)"),
    (lambda f: f.update({"blocks.0.ffn.0.bias": torch.zeros(3)}), "which is no half of a low-rank change"),
    (lambda f: f.clear(), "holds no low-rank changes"),
])  # fmt: skip
def test_changes_that_do_not_fit_are_refused(longlive_files, tmp_path, spoil, says):
    base, _, _, factors = longlive_files
    spoil(factors)
    lora = save_lora(tmp_path / "bad.pt", factors)
    with pytest.raises(ValueError, match=says) as refused:
        open_generator(base, made.sizes(LAYERS), lora=lora)
    assert str(lora) in str(refused.value)
    assert "\n" not in str(refused.value)
