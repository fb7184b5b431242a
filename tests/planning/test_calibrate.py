"""Calibration on this machine: every rate that is needed is found, and what is too large is done smaller."""

import pytest
import torch

from pp1_orchestrator.app.strategy_registry import STRATEGIES
from pp1_orchestrator.planning.calibrate import LinkSpeed, Rates, calibrate, compute_seconds, parallel_ranks
from pp1_orchestrator.planning.op_benchmark import time_operations
from pp1_orchestrator.planning.op_counter import OpCounts, counting
from pp1_orchestrator.planning.profile import profile_model
from pp1_orchestrator.transport.link_benchmark import probe_link
from tests.planning.factories import settings, shipped, with_name

CPU = torch.device("cpu")
LINK = LinkSpeed(message_s=1e-3, sum_s=2e-3, bytes_s=1e9, sum_bytes_s=2e9, method="assumed")


def test_a_machine_is_measured_for_all_the_work_there_is():
    made = with_name(settings(), "context", "recompute_anchor")
    found = profile_model(made, shipped(made), STRATEGIES)
    asked: list[float] = []

    def probe(between_s: float) -> LinkSpeed:
        asked.append(between_s)
        return LINK

    machine = calibrate(made, found, probe)
    generator = compute_seconds(found.work["generator"], machine.rates["generator"])
    assert asked == [pytest.approx(generator / 13)], "12 sums split a pass into 13 pieces"
    assert machine.rates.keys() == {"generator", "decode", "encode", "text"}
    for part, work in found.work.items():
        rates = machine.rates["generator" if part == "context" else part]
        assert compute_seconds(work, rates) > 0
    assert machine.rates["generator"].conv_flops_s == 0, "a generator has no convolution"
    assert min(machine.rates["decode"].conv_flops_s, machine.rates["text"].call_s, machine.memory_bytes) > 0
    assert (machine.device, machine.torch_threads, machine.link) == ("cpu", torch.get_num_threads(), LINK)


def test_a_large_product_is_done_smaller_and_scaled_up():
    x, weight = torch.zeros(3000, 2000, device="meta"), torch.zeros(5000, 2000, device="meta")
    image = torch.zeros(1, 600, 64, 64, device="meta").contiguous(memory_format=torch.channels_last)
    kernel = torch.zeros(500, 600, 3, 3, device="meta")
    with counting() as work:
        torch.nn.functional.linear(x, weight)
        torch.conv2d(image, kernel, padding=1)
    for timed in time_operations(work.operations, CPU, max_flops=1e7, seconds=0.0):
        assert timed.run.flops <= 1e7
        assert timed.scale == timed.operation.flops / timed.run.flops > 1
        assert timed.seconds > 0
        assert timed.run.call is not None
        assert timed.operation.call is not None
        kept, whole = (call.arguments[0].stride for call in (timed.run.call, timed.operation.call))
        assert (kept[1] == 1) == (whole[1] == 1), "the same memory order"


def test_work_without_a_rate_is_an_error():
    with counting() as work:
        torch.nn.functional.linear(torch.zeros(2, 2, device="meta"), torch.zeros(2, 2, device="meta"))
    idle = Rates(matmul_flops_s=0.0, attention_flops_s=0.0, conv_flops_s=0.0, other_bytes_s=1.0)
    with pytest.raises(ValueError, match="not measured"):
        compute_seconds(work, idle)


@pytest.mark.parametrize(("backend", "method"), [("gloo", "sums over 3 threads"), ("none", "copies from cpu to cpu")])
def test_the_link_is_probed(backend, method):
    probe = probe_link(backend, CPU, 3, 100_000, work_s=1e-4)
    assert min(probe.message_s, probe.sum_s, probe.bytes_s) > 0
    assert probe.method == method


def test_an_error_of_one_of_the_ranks_is_raised(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-interface")
    with pytest.raises(RuntimeError, match="no-such-interface"):
        probe_link("gloo", CPU, 3, 100_000, work_s=1e-4)


def test_messages_and_all_reduces_have_prices_of_their_own():
    assert LINK.messages(3, 10**6) == pytest.approx(3e-3 + 1e-3)
    assert LINK.all_reduces(3, 10**6) == pytest.approx(6e-3 + 5e-4)


def test_an_exchange_costs_half_of_the_all_reduce_of_its_bytes():
    sums, exchanges = OpCounts(reductions=3, reduction_bytes=10**6), OpCounts(exchanges=3, exchange_bytes=2 * 10**6)
    assert LINK.collectives(sums) == LINK.collectives(exchanges) == LINK.all_reduces(3, 10**6)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [(["cuda:0"] * 3, 1), (["cuda:0", "cuda:1", "cuda:2"], None), (["cuda:0", "cuda:0", "cuda:1", "cuda:2"], 3)],
)
def test_ranks_of_one_gpu_compute_in_turns(devices, expected):
    assert parallel_ranks(devices) == expected
