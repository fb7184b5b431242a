"""What else ran: a real busy process is seen as others', our own child is not, and what it may have cost."""

import subprocess
import sys
import time

import pytest

from pp1_orchestrator.report.machine_load import LoadSample, LoadSampler, read_load, summarize_load, write_load

SPIN = "import time\nend = time.process_time() + 1.5\nwhile time.process_time() < end: pass"


def sample(time_s: float = 1.0, others: float = 0.0, stolen: float = 0.0, idle: float = 1.0, cores: int = 2):
    return LoadSample(time_s=time_s, cores=cores, own=1.0, others=others, stolen=stolen, idle=idle, load_average=1.0)


@pytest.mark.parametrize(
    ("others", "stolen", "idle", "delay"),
    [
        (0.9, 0.0, 0.0, 0.9),
        (0.9, 0.0, 0.4, 0.6),  # some of the time a core was free
        (40.0, 0.0, 20.0, 0.0),  # a core was always free
        (40.0, 0.0, 0.0, 1.0),
        (0.0, 0.3, 1.0, 0.3),  # what a hypervisor takes is gone, whatever is free
        (0.0, 0.0, 0.0, 0.0),
    ],
)
def test_how_long_others_can_have_held_up_a_thread(others, stolen, idle, delay):
    assert sample(others=others, stolen=stolen, idle=idle).delay == pytest.approx(delay)


def test_a_summary_is_the_mean_from_the_end_of_the_warm_up_on():
    found = summarize_load([sample(1.0, others=2.0), sample(2.0, others=0.2), sample(3.0, others=0.4)], start_s=1.5)
    assert found is not None
    assert (found.samples, found.others) == (2, pytest.approx(0.3))


def test_where_no_sample_is_so_late_all_count():
    found = summarize_load([sample(1.0), sample(2.0)], start_s=9.0)
    assert found is not None
    assert found.samples == 2
    assert summarize_load([]) is None


@pytest.mark.parametrize(
    ("others", "stolen", "cores", "busy"),
    [(0.05, 0.0, 2, False), (0.2, 0.0, 2, True), (2.0, 0.0, 64, False), (0.0, 0.1, 2, True)],
)
def test_when_a_machine_is_called_busy(others, stolen, cores, busy):
    found = summarize_load([sample(others=others, stolen=stolen, cores=cores)])
    assert found is not None
    assert found.busy == busy


def test_the_file_is_what_was_written(tmp_path):
    samples = [sample(1.0), sample(2.0, others=0.5)]
    write_load(samples, tmp_path)
    assert read_load(tmp_path) == samples
    assert read_load(tmp_path / "none") == []


def test_the_time_of_ones_own_processes_is_not_that_of_others():
    """A child spins for 1.5 s of processor time, and ends before the last sample: none of it is lost."""
    sampler = LoadSampler(every_s=0.2)
    before = time.monotonic()
    sampler.start()
    assert subprocess.run([sys.executable, "-c", SPIN], check=True).returncode == 0
    time.sleep(0.5)
    samples = sampler.stop()
    assert samples
    times = [before, *(one.time_s for one in samples)]
    own = sum(one.own * (end - start) for one, start, end in zip(samples, times, times[1:], strict=False))
    assert 1.4 < own < 4.0
