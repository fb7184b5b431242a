"""The driver's table of links is read whole, and a mesh that is split over slow ones is told so."""

import pytest

from pp1_orchestrator.layouts.gpu_topology import advice, read_topology, topology

NVLINK = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tNV18\tNV18\tPIX\t0-31\t0\t\tN/A
GPU1\tNV18\t X \tNV18\tSYS\t0-31\t0\t\tN/A
GPU2\tNV18\tNV18\t X \tSYS\t32-63\t1\t\tN/A
NIC0\tPIX\tSYS\tSYS\t X

Legend:

  X    = Self
  NV#  = Connection traversing a bonded set of # NVLinks
"""
PCIE = NVLINK.replace("GPU1\tNV18\t X \tNV18", "GPU1\tNV18\t X \tPHB")


def is_good(*devices):
    said = advice(devices, read_topology(PCIE))
    assert said is not None
    return said[0]


@pytest.fixture(autouse=True)
def all_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_every_pair_has_its_word():
    links = read_topology(NVLINK)
    assert len(links) == 9
    assert links[0, 1] == links[1, 2] == "NV18"
    assert links[0, 0] == "X"


def test_nvlink_is_good():
    assert advice(["cuda:1", "cuda:2"], read_topology(NVLINK)) == (
        True,
        "cuda:1, cuda:2 are joined by NVLink (NV18)",
    )


def test_pcie_between_any_two_is_told_with_what_is_better():
    assert advice(["cuda:0", "cuda:1", "cuda:2"], read_topology(PCIE)) == (
        False,
        "cuda:0, cuda:1, cuda:2 are not all joined by NVLink but by PCIe (PHB): sums over the mesh will be slow; "
        "3 streams with layout=gpu_1p1 give more frames than one that is split",
    )
    assert is_good("cuda:0", "cuda:1")


def test_the_visible_gpus_are_the_ones_that_count(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0,2")
    assert is_good("cuda:1", "cuda:2")
    assert not is_good("cuda:0", "cuda:2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5f1c,GPU-77aa")
    assert advice(["cuda:0", "cuda:1"], read_topology(PCIE)) is None


@pytest.mark.parametrize("table", ["", "no such thing\n", "GPU0\n"])
def test_where_nothing_is_known_nothing_is_said(table):
    assert advice(["cuda:0", "cuda:1"], read_topology(table)) is None


def test_the_drivers_tool_is_asked_and_may_be_missing_or_fail(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert topology() == {}
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    assert topology() == {}
    (tmp_path / "table").write_text(NVLINK)
    tool.write_text(f'#!/bin/sh\nwhile IFS= read -r line; do echo "$line"; done < {tmp_path}/table\n')
    assert topology()[0, 2] == "NV18"
