"""Microbenchmarks on this machine: a rate for each kind of work and size, and a machine's file."""

import msgspec
import pytest
import torch
import yaml

from benchmarks import machine_rates
from pp1_orchestrator.config.machine import MachineSettings
from pp1_orchestrator.planning import measured_rates, this_machine
from pp1_orchestrator.planning import microbenchmarks as micro
from pp1_orchestrator.planning.calibrate import LinkSpeed
from pp1_orchestrator.planning.rate_tables import read_rates

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
    products = measured_rates.block_products()
    assert len(set(products)) == len(products)
    assert {(2160, 10240, 5120), (2160, 5120, 6912), (4680, 768, 1536)} <= set(products)


def test_a_measured_machine_is_an_option_that_can_be_planned_for(monkeypatch, tmp_path):
    monkeypatch.setattr(measured_rates, "ROUND", [])
    monkeypatch.setattr(measured_rates, "COPIES", [1 << 16])
    monkeypatch.setattr(measured_rates, "ROWS", [(48, 64)])
    machine_rates.main(["--name", "mine", "--device", "cpu", "--seconds", "0", "--out", str(tmp_path)])
    found = msgspec.convert(yaml.safe_load((tmp_path / "machine" / "mine.yaml").read_text()), MachineSettings)
    assert (found.name, found.gpus, found.gpu, found.rates) == ("mine", 0, None, None)
    assert found.source.startswith("measured ")
    assert found.host_rates is not None
    rates = read_rates(found.host_rates)
    assert rates.copies[0][0] == 1 << 16
    assert rates.message_s is not None


def test_this_machine_is_measured_once(monkeypatch, tmp_path):
    monkeypatch.setattr(this_machine, "CORE_S", 0.0)
    monkeypatch.setattr(this_machine.psutil, "getloadavg", lambda: (0.0, 0.0, 0.0))
    calls: list[int] = []

    def message() -> LinkSpeed:
        calls.append(1)
        return LinkSpeed(message_s=1e-5, bytes_s=1e9, sum_s=2e-5, sum_bytes_s=1e9, method="gloo")

    first = this_machine.tables_here([], tmp_path, message)
    assert this_machine.tables_here([], tmp_path, message) == first
    assert calls == [1]


def test_a_links_figures_are_those_of_a_ring():
    pairs = [(4096, 10e-6), (1 << 24, 110e-6), (1 << 26, 1.0)]
    assert machine_rates.link_of(pairs, 2) == {"gb_s": pytest.approx(168), "latency_us": 10.0}
    assert machine_rates.link_of(pairs, 4) == {"gb_s": pytest.approx(252), "latency_us": 10.0}
    assert machine_rates.link_of([], 1) == {}
