"""Files of weights: what they hold is known without reading it, parts are read alone, and nothing bad is opened."""

import os
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pp1_orchestrator.models.checkpoints.reader import open_weights
from pp1_orchestrator.models.checkpoints.stored_forms import with_scales

STATE = {
    "a": torch.arange(24.0).view(4, 6),
    "b": torch.arange(24).view(2, 3, 4).to(torch.bfloat16),
    "c": torch.tensor(3.0),
}


def save_single(folder: Path) -> Path:
    save_file(STATE, folder / "model.safetensors")
    return folder / "model.safetensors"


def save_sharded(folder: Path) -> Path:
    for name, keys in (("one", "ab"), ("two", "c")):
        save_file({key: STATE[key] for key in keys}, folder / f"{name}.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(
        '{"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}}'
    )
    return index


def save_pickled(folder: Path) -> Path:
    torch.save(STATE, folder / "model.pt")
    return folder / "model.pt"


SAVERS = [save_single, save_sharded, save_pickled]


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("by_folder", [False, True])
def test_all_containers_hold_the_same(tmp_path, save, by_folder):
    path = save(tmp_path)
    weights = open_weights(tmp_path if by_folder else path)
    assert weights.path == path
    assert weights.shapes() == {"a": (4, 6), "b": (2, 3, 4), "c": ()}
    for key, tensor in STATE.items():
        read = weights.read(key)
        assert read.dtype == tensor.dtype
        assert torch.equal(read, tensor)


@pytest.mark.parametrize("save", SAVERS)
def test_a_part_is_read_alone_and_in_the_type_that_is_asked_for(tmp_path, save):
    weights = open_weights(save(tmp_path))
    rows, columns = weights.read("a", rows=slice(1, 3)), weights.read("a", rows=slice(2, 4), dim=1, dtype=torch.float64)
    assert torch.equal(rows, STATE["a"][1:3])
    assert columns.dtype == torch.float64
    assert torch.equal(columns, STATE["a"][:, 2:4].double())
    assert torch.equal(weights.read("b", rows=slice(0, 1), dim=1), STATE["b"][:, :1])
    for part in (rows, columns, weights.read("a")):
        assert part.is_contiguous()
        assert part.untyped_storage().nbytes() == part.nbytes, "nothing else is kept in memory"


@pytest.mark.parametrize("save", SAVERS)
def test_what_was_read_outlives_the_file(tmp_path, save):
    path = save(tmp_path)
    weights = open_weights(path)
    read = weights.read("a")
    for file in tmp_path.iterdir():
        file.write_bytes(bytes(file.stat().st_size))
    assert torch.equal(read, STATE["a"])


def test_a_pickle_in_sections_names_them(tmp_path):
    parameters = torch.nn.Linear(2, 3).state_dict(keep_vars=True)
    torch.save(
        {"generator": OrderedDict(parameters), "step": 7, "nested": {"deep": {"x": STATE["a"]}}}, tmp_path / "m.pt"
    )
    weights = open_weights(tmp_path)
    assert weights.shapes() == {"generator/weight": (3, 2), "generator/bias": (3,), "nested/deep/x": (4, 6)}
    assert not weights.read("generator/weight").requires_grad


def test_opening_reads_no_numbers(tmp_path):
    """A file of a gigabyte with a hole in it is opened, and its last rows are read, in the memory of a few rows."""
    path = tmp_path / "big.pt"
    with torch.serialization.skip_data():
        torch.save({"w": torch.empty(2**14, 2**14)}, path)
    assert path.stat().st_size >= 2**30
    assert path.stat().st_blocks * 512 < 2**24
    weights = open_weights(path)
    assert weights.shapes() == {"w": (2**14, 2**14)}
    assert torch.equal(weights.read("w", rows=slice(-2, None)), torch.zeros(2, 2**14))


class Trap:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_that_is_a_program_is_not_run(tmp_path):
    torch.save({"a": STATE["a"], "b": Trap(tmp_path / "sprung")}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match=r"m\.pt is damaged, or holds more than tensors, and is not opened") as refused:
        open_weights(tmp_path / "m.pt")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "sprung").exists()


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [cut, lambda data: b"", lambda data: b"hello"])
@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, damage, name):
    path = tmp_path / name
    torch.save(STATE, path) if name == "m.pt" else save_file(STATE, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=name) as refused:
        open_weights(path)
    assert "\n" not in str(refused.value)


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pth", "w") as archive:
        archive.writestr("data.txt", "hello")
    with pytest.raises(ValueError, match=r"m\.pth is damaged"):
        open_weights(tmp_path / "m.pth")


def test_a_pickle_without_a_word_in_it_is_refused(tmp_path):
    """What torch raises then says nothing."""
    torch.save(STATE, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "m.pt", "w") as hollow:
        for name in whole.namelist():
            hollow.writestr(name, b"" if name.endswith("data.pkl") else whole.read(name))
    with pytest.raises(ValueError, match=r"m\.pt is damaged, .* is not opened \(EOFError\)$"):
        open_weights(tmp_path / "m.pt")


def test_an_index_that_names_a_tensor_in_the_wrong_file_is_refused(tmp_path):
    index = save_sharded(tmp_path)
    index.write_text(index.read_text().replace('"c": "two', '"c": "one'))
    with pytest.raises(ValueError, match=r"names c in one\.safetensors, which has no such tensor"):
        open_weights(index)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors: no such file"):
        open_weights(tmp_path / "gone.safetensors")
    with pytest.raises(FileNotFoundError, match="no file of weights in it"):
        open_weights(tmp_path)
    (tmp_path / "readme.md").write_text("hello")
    with pytest.raises(ValueError, match=r"readme\.md is not a file of weights; possible: \.safetensors, .*\.pth"):
        open_weights(tmp_path / "readme.md")


def test_a_folder_with_a_choice_asks_which(tmp_path):
    for name in ("two", "one"):
        save_file(STATE, tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"several files of weights: one\.safetensors, two\.safetensors; name the one"):
        open_weights(tmp_path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_are_no_weights_without_a_scale(tmp_path, dtype):
    """They would be read as they are, a hundred times too large. In their own type they can be copied."""
    save_file({"a.weight": torch.ones(4, 4).to(dtype), "b": torch.ones(2)}, tmp_path / "model.safetensors")
    weights = open_weights(tmp_path)
    assert weights.read("a.weight").dtype == dtype
    assert weights.read("b", dtype=torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"model.safetensors: a.weight is in torch\.\w+, and no scale is beside it"):
        weights.read("a.weight", dtype=torch.bfloat16)


def test_8_bit_whole_numbers_are_weights_with_a_scale(tmp_path):
    save_file({"a.weight": torch.full((2, 3), 5, dtype=torch.int8), "a.weight_scale": torch.tensor([[0.5], [2.0]])},
              tmp_path / "model.safetensors")  # fmt: skip
    read = with_scales(open_weights(tmp_path)).read("a.weight", dtype=torch.float32)
    assert read.tolist() == [[2.5] * 3, [10.0] * 3]
