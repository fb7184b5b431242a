"""Rewriting a checkpoint: the same weights in our layout, whose manifest knows when a file has changed."""

import argparse
import shutil

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from pp1_orchestrator.convert import EXIT_SOURCE, convert, main, parser
from pp1_orchestrator.models.checkpoints.conversion import infer_config
from pp1_orchestrator.models.checkpoints.manifest import MANIFEST, check_manifest
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.load_generator import load_generator
from tests.models.checkpoints import factories as made
from tests.models.config_file import read_config
from tests.models.wan.small_model import CONFIG, random_model

CPU = torch.device("cpu")


@pytest.fixture
def source(tmp_path):
    """Self-Forcing's layout; four heads and 48 tokens, as a config.json beside it says."""
    state = dict(random_model().state_dict())
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "self_forcing_dmd.pt"
    torch.save({"generator": made.other(state), "generator_ema": made.as_trained(state)}, path)
    (path.parent / "config.json").write_text('{"num_heads": 4, "text_len": 48}')
    return path, state


def run(*arguments) -> list:
    return convert(parser().parse_args([str(a) for a in arguments]))


@pytest.mark.parametrize("shard_gb", [1.0, 1e-4], ids=["one file", "shards"])
@pytest.mark.parametrize("dtype", ["as-stored", "bfloat16"])
def test_what_was_converted_is_what_was_there(tmp_path, source, shard_gb, dtype):
    path, state = source
    target = tmp_path / "target"
    written = run(path, target, "--dtype", dtype, "--shard-gb", shard_gb)
    assert sorted(target.iterdir()) == written
    assert all(file.stat().st_size < 2e5 for file in written) == (shard_gb < 1)
    kind = torch.float32 if dtype == "as-stored" else torch.bfloat16
    loaded = load_generator(target, CONFIG, CPU, torch.float32).state_dict()
    assert all(torch.equal(loaded[name], tensor.to(kind).float()) for name, tensor in state.items())
    stored = [tensor for file in target.glob("*.safetensors") for tensor in load_file(file).values()]
    assert len(stored) == len(state)
    assert {tensor.dtype for tensor in stored} == {kind}
    check_manifest(next(iter(target.glob("*.safetensors"))), digests=True)
    config = read_config(target)
    assert (config.dim, config.ffn_dim, config.num_heads) == (CONFIG.dim, CONFIG.ffn_dim, CONFIG.num_heads)
    assert (config.num_layers, config.in_dim, config.out_dim) == (CONFIG.num_layers, CONFIG.in_dim, CONFIG.out_dim)
    assert config.text_len == 48
    assert (config.text_dim, config.freq_dim, config.patch_size) == (CONFIG.text_dim, CONFIG.freq_dim, (1, 2, 2))


def test_the_last_weights_and_a_lora_are_converted_too(tmp_path):
    layers, rank = 2, 3
    state, factors = made.state(layers), made.lora(layers, rank)
    source, lora = tmp_path / "model.pt", tmp_path / "lora.pt"
    torch.save({"generator": state, "generator_ema": made.other(state)}, source)
    torch.save({"generator_lora": factors}, lora)
    (tmp_path / "config.json").write_text('{"num_heads": 2}')
    run(source, tmp_path / "out", "--last", "--lora", lora, "--lora-alpha", 2 * rank, "--dtype", "as-stored")
    found = load_file(tmp_path / "out" / "model.safetensors")
    down, up = (factors[f"base_model.model.blocks.1.ffn.2.lora_{half}.weight"] for half in "AB")
    torch.testing.assert_close(found["blocks.1.ffn.2.weight"], state["blocks.1.ffn.2.weight"] + 2 * up @ down)
    assert torch.equal(found["head.head.weight"], state["head.head.weight"])
    manifest = msgspec.json.decode((tmp_path / "out" / MANIFEST).read_bytes())
    assert manifest["sources"].keys() == {"model.pt", "lora.pt"}
    assert manifest["sources"]["model.pt"]["bytes"] == source.stat().st_size


def test_a_real_models_sizes_are_known_from_its_shapes_alone(tmp_path):
    large = WanConfig(dim=5120, ffn_dim=13824, num_heads=40, num_layers=40)
    assert infer_config(tmp_path / "krea.safetensors", made.shapes(large)) == large


def test_nothing_is_overwritten(tmp_path, source):
    path, _ = source
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="target is not empty"):
        run(path, tmp_path / "target")
    assert [file.name for file in (tmp_path / "target").iterdir()] == ["mine.txt"]


def test_what_can_not_be_converted_is_one_line(tmp_path, monkeypatch, capsys):
    torch.save({"decoder.conv1.weight": torch.zeros(3)}, tmp_path / "vae.pth")
    monkeypatch.setattr("sys.argv", ["convert", str(tmp_path / "vae.pth"), str(tmp_path / "target")])
    assert main() == EXIT_SOURCE
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err == f"{tmp_path}/vae.pth holds no Wan2.1 transformer: 'patch_embedding.weight'\n"
    assert not (tmp_path / "target").exists()


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    torch.save(made.state(1), folder / "model.pt")
    (folder / "config.json").write_text('{"num_heads": 2}')
    options = argparse.Namespace(lora=None, lora_alpha=None, last=False, dtype="bfloat16", shard_gb=1e-6)
    options.source, options.target = folder / "model.pt", folder / "out"
    convert(options)
    return folder / "out"


@pytest.fixture
def folder(converted, tmp_path):
    return shutil.copytree(converted, tmp_path / "copy")


def index(folder):
    return folder / "model.safetensors.index.json"


def test_a_file_that_was_cut_is_known_by_its_size(folder):
    check_manifest(index(folder), digests=True)
    victim = sorted(folder.glob("*.safetensors"))[3]
    victim.write_bytes(victim.read_bytes()[:-2])
    with pytest.raises(ValueError, match=rf"{victim.name} has \d+ bytes; manifest\.json says \d+"):
        check_manifest(index(folder), digests=False)


def test_a_changed_number_is_known_by_the_digest_when_it_is_asked_for(folder):
    victim = sorted(folder.glob("*.safetensors"))[3]
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(bytes(data))
    check_manifest(index(folder), digests=False)
    with pytest.raises(ValueError, match=rf"{victim.name} is not the file that manifest\.json describes"):
        check_manifest(index(folder), digests=True)


def test_a_shard_that_is_gone_and_a_file_that_is_new_are_named(folder):
    sorted(folder.glob("*.safetensors"))[3].unlink()
    with pytest.raises(ValueError, match=r"is named in manifest\.json, and is not there"):
        check_manifest(index(folder), digests=False)
    with pytest.raises(ValueError, match=r"new\.safetensors is not in manifest\.json beside it"):
        check_manifest(folder / "new.safetensors", digests=False)


@pytest.mark.parametrize(("text", "says"), [
    ("{}", "is not a manifest"),
    ('{"schema": 2, "files": {}, "sources": {}, "made": {}}', "has schema 2; 1 can be read"),
    ('{"schema": 1, "files": {"../x": {"bytes": 1, "sha256": ""}}, "sources": {}, "made": {}}', "names '../x'"),
])  # fmt: skip
def test_a_manifest_that_is_none_is_refused(folder, text, says):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match=says):
        check_manifest(index(folder), digests=False)


def test_without_a_manifest_there_is_nothing_to_compare(folder):
    (folder / MANIFEST).unlink()
    check_manifest(index(folder), digests=False)
    with pytest.raises(ValueError, match="no digests to compare"):
        check_manifest(index(folder), digests=True)
