"""Microbenchmarks on this machine: a rate for each kind of work and size, and a machine's file."""

import pytest
import torch
import yaml

from benchmarks import machine_rates
from pp1_orchestrator.planning import microbenchmarks as micro

CPU = torch.device("cpu")
WATCH = micro.Stopwatch(CPU, 0.0)


@pytest.mark.parametrize(
    ("measure", "sizes"),
    [
        (micro.products, [(48, 192, 96), (16, 16, 16)]),
        (micro.convolutions, [(3, 12, 8, 16, 16)]),
        (micro.attention, [(16, 2, 48, 96)]),
        (micro.rows, [(48, 64)]),
    ],
)
def test_every_size_has_a_rate(measure, sizes):
    rates = measure(WATCH, torch.float32, sizes)
    assert len(rates) == len(sizes)
    assert all(rate > 1e3 for _, rate in rates)


def test_a_rate_is_work_by_the_shortest_time():
    calls: list[int] = []
    assert micro.Stopwatch(CPU, 0.0)([lambda: calls.append(1), lambda: calls.append(2)]) > 0
    assert calls[:3] == [1, 1, 2], "one to warm up, then all in turn"


def test_the_least_that_copies_and_calls_cost():
    [(size, rate)] = micro.copies(WATCH, [1 << 16])
    assert size == (1 << 16,)
    assert min(rate, micro.host_copy_bytes_s(CPU, 1 << 16)) > 1e6
    assert 0 < micro.call_seconds(CPU, 40) < 1


def test_sizes_of_a_split_block_are_among_the_products():
    products = machine_rates.block_products()
    assert len(set(products)) == len(products)
    assert {(2160, 10240, 5120), (2160, 5120, 6912), (4680, 768, 1536)} <= set(products)


def test_a_machine_is_printed_as_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_rates, "ROUND", [])
    monkeypatch.setattr(machine_rates, "COPIES", [1 << 16])
    monkeypatch.setattr(machine_rates, "ROWS", [(48, 64)])
    path = tmp_path / "mine.yaml"
    machine_rates.main(["--name", "mine", "--device", "cpu", "--seconds", "0", "--out", str(path)])
    found = yaml.safe_load(path.read_text())
    assert (found["name"], found["gpus"]) == ("mine", 0)
    assert found["source"].startswith("measured ")
    assert found["host"]["rates"]["copies"][0][0] == 1 << 16
