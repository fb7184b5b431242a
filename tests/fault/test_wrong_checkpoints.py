"""A checkpoint that is damaged, another model's or no checkpoint: one exact line, soon, and nothing was started."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.planning.factories import settings
from tests.system.program import run_to_end
from tests.timing import stopwatch

TINY = settings().model.folder
GENERATOR, VAE = "generator/model.safetensors", "vae/diffusion_pytorch_model.safetensors"
REFUSED_S = 10
"""On an idle machine."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def other_model(path: Path) -> None:
    """One with a layer less, and one tensor by another name."""
    state = load_file(path)
    state["vace.weight"] = state.pop("head.head.weight")
    save_file({name: tensor for name, tensor in state.items() if not name.startswith("blocks.3.norm")}, path)


def lose_a_shard(path: Path) -> None:
    """Two shards and their index, of which one is gone."""
    state, folder = load_file(path), path.parent
    names = sorted(state)
    shards = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, keys in shards.items():
        save_file({key: state[key] for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in shards.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    path.unlink()
    (folder / "model-2.safetensors").unlink()


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def put_a_pickle(path: Path) -> None:
    torch.save(Trap(path.parents[2] / "sprung"), path)


@pytest.fixture(scope="module", autouse=True)
def imports_done(tmp_path_factory):
    """What starts programs has its own imports behind it."""
    assert run_to_end("seed=none", out=tmp_path_factory.mktemp("first") / "out").returncode == 2


@pytest.mark.parametrize(
    ("damage", "part", "says"),
    [
        (flip, GENERATOR, "{path} is not the file that manifest.json describes: its SHA-256 differs"),
        (flip, VAE, "{path} is not the file that manifest.json describes: its SHA-256 differs"),
        (
            truncate,
            GENERATOR,
            "{path} is no whole safetensors file (Error while deserializing header: incomplete metadata, file not "
            "fully covered)",
        ),
        (
            other_model,
            GENERATOR,
            "{path} does not hold this generator: missing: blocks.3.norm3.weight (192,), blocks.3.norm3.bias (192,), "
            "head.head.weight (64, 192); unexpected: vace.weight (64, 192)",
        ),
        (
            lose_a_shard,
            GENERATOR,
            "{folder}/model.safetensors.index.json names model-2.safetensors, which is not there",
        ),
        (
            put_a_pickle,
            GENERATOR,
            "{path} is no whole safetensors file (Error while deserializing header: header too large)",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_one_exact_line_and_exit_code_2(tmp_path, damage, part, says):
    root = tmp_path / "root"
    shutil.copytree(TINY, root)
    path = root / part
    damage(path)
    with stopwatch() as watch:
        done = run_to_end("run=bench", "run.chunks=1", f"model.root={root}", out=tmp_path / "out")
    assert done.returncode == 2, done.stderr
    line = says.format(path=path, folder=path.parent)
    assert done.stderr.splitlines()[-1] == f"configuration error: model.root={root}: {line}"
    assert "rank 1" not in done.stderr
    assert watch.within(REFUSED_S)
    assert not (tmp_path / "sprung").exists()
