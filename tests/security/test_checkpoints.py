"""Checkpoints are data of one folder: what leads out of it, or is no safetensors file, is refused unopened."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import pp1_orchestrator
from pp1_orchestrator.loading.checkpoint import check_folder
from tests.system.program import run_to_end

TINY = Path(pp1_orchestrator.__file__).parent / "models" / "tiny"
WEIGHTS = "generator/model.safetensors"


@pytest.fixture
def root(tmp_path) -> Path:
    """A folder with one small file of weights."""
    folder = tmp_path / "root"
    (folder / "generator").mkdir(parents=True)
    save_file({"a": torch.zeros(100)}, folder / WEIGHTS)
    return folder


def refusal(root) -> str:
    with pytest.raises(ValueError, match="generator") as refused:
        check_folder(root)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_a_good_folder_passes_also_by_another_name(root, tmp_path):
    check_folder(TINY)
    check_folder(root)
    (root / "generator" / "same.safetensors").symlink_to("model.safetensors")
    check_folder(root)
    (tmp_path / "link").symlink_to(root)
    check_folder(tmp_path / "link")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../elsewhere.safetensors", "../../../nowhere"])
def test_a_link_out_of_the_folder_is_refused(root, tmp_path, target):
    save_file({"a": torch.zeros(1)}, tmp_path / "elsewhere.safetensors")
    (root / WEIGHTS).unlink()
    (root / WEIGHTS).symlink_to(target)
    assert refusal(root) == f"{root / WEIGHTS} is a link out of the folder; copy what it points to"


def test_a_folder_that_is_a_link_out_is_refused(root, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.rmtree(root / "generator")
    (root / "generator").symlink_to(tmp_path / "other")
    assert refusal(root) == f"{root / 'generator'} is a link out of the folder; copy what it points to"


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_pickle_with_another_name_is_refused_and_never_opened(root, tmp_path):
    torch.save(Trap(tmp_path / "sprung"), root / WEIGHTS)
    assert zipfile.is_zipfile(root / WEIGHTS)
    assert refusal(root).startswith(f"{root / WEIGHTS} is no whole safetensors file (")
    assert not (tmp_path / "sprung").exists()


def cut(data: bytes) -> bytes:
    return data[:-1]


def claim_much(data: bytes) -> bytes:
    return (2**62).to_bytes(8, "little") + data[8:]


def spoil_header(data: bytes) -> bytes:
    return data[:8] + b"[" + data[9:]


@pytest.mark.parametrize("damage", [cut, claim_much, spoil_header, lambda data: b"", lambda data: data[:4]])
def test_damaged_weights_are_known_by_their_header(root, damage):
    path = root / WEIGHTS
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(root).startswith(f"{root / WEIGHTS} is no whole safetensors file (")


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ('{"weight_map": {"a": "../model.safetensors"}}', "only safetensors files beside it may be named"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "only safetensors files beside it may be named"),
        ('{"weight_map": {"a": "model.bin"}}', "only safetensors files beside it may be named"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "names gone.safetensors, which is not there"),
        ("[]", "is no index of weights"),
    ],
)
def test_an_index_names_files_beside_it_and_all_of_them_are_there(root, index, says):
    (root / "generator" / "model.safetensors.index.json").write_text(index)
    assert says in refusal(root)


def test_the_program_ends_before_it_serves_and_names_the_file(tmp_path):
    root = tmp_path / "root"
    shutil.copytree(TINY, root)
    torch.save(Trap(tmp_path / "sprung"), root / WEIGHTS)
    options = (f"model.root={root}", "run=bench", "run.chunks=1", "layout=inline")
    done = run_to_end(*options, out=tmp_path / "out")
    assert done.returncode == 2, done.stderr
    start = f"configuration error: model.root={root}: {root / WEIGHTS} is no whole safetensors file ("
    assert done.stderr.startswith(start)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "sprung").exists()
