"""What else ran on the machine while a run was measured: processor time of others, and time that a hypervisor stole.

Owns the sampling and its file. Knows nothing of what is measured, or of GPUs.
"""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import psutil

LOAD_FILE = "load.jsonl"
EVERY_S = 1.0
BUSY_SHARE, BUSY_STEAL = 0.05, 0.01
"""Shares of all cores' time, taken by other processes or stolen, from which a machine is called busy."""
SHOWN, SHOWN_CORES = 3, 0.05
"""How many other processes are named, and what each must use for that."""


class LoadSample(msgspec.Struct, frozen=True):
    """The second before `time_s` (monotonic). own, others, stolen, idle: processor time by time, in cores."""

    time_s: float
    cores: int
    own: float
    others: float
    stolen: float
    idle: float
    load_average: float

    @property
    def delay(self) -> float:
        """The largest share of this second for which others can have held up one of our threads.

        While a core is free, no thread has to wait for one.
        """
        return min(1.0, min(self.others, max(0.0, 1.0 - self.idle)) + self.stolen)


class LoadSummary(msgspec.Struct, frozen=True):
    """Means over the samples; in cores, except load_average and delay, for which see `LoadSample`."""

    samples: int
    cores: int
    others: float
    stolen: float
    idle: float
    load_average: float
    delay: float

    @property
    def busy(self) -> bool:
        return self.others > BUSY_SHARE * self.cores or self.stolen > BUSY_STEAL * self.cores

    def __str__(self) -> str:
        stolen = f", a hypervisor {self.stolen:.1f}" if self.stolen > BUSY_STEAL * self.cores else ""
        return f"other processes took {self.others:.1f} of {self.cores} cores{stolen}"


class _Counters(msgspec.Struct, frozen=True):
    time_s: float
    own: float
    busy: float
    stolen: float
    idle: float


class LoadSampler:
    """Samples from `start` to `stop`, in a thread of its own."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._samples: list[LoadSample] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[LoadSample]:
        self._stopped.set()
        self._thread.join()
        return self._samples

    def _run(self) -> None:
        before = _read_counters()
        while not self._stopped.wait(self._every_s):
            now = _read_counters()
            self._samples.append(_between(before, now))
            before = now


def _read_counters() -> _Counters:
    """Of all processors, and of this process with all that it has started."""
    times = psutil.cpu_times()
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return _Counters(
        time_s=time.monotonic(),
        own=sum(map(_spent_s, processes)),
        busy=times.user + times.system + getattr(times, "nice", 0.0),
        stolen=getattr(times, "steal", 0.0),
        idle=times.idle + getattr(times, "iowait", 0.0),
    )


def _spent_s(process: psutil.Process) -> float:
    """Processor time of a process and of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0  # it has ended: from now on its time is among its parent's
    return times.user + times.system + times.children_user + times.children_system


def _between(before: _Counters, now: _Counters) -> LoadSample:
    seconds = max(now.time_s - before.time_s, 1e-3)
    own = max(0.0, now.own - before.own) / seconds
    return LoadSample(
        time_s=now.time_s,
        cores=os.cpu_count() or 1,
        own=own,
        others=max(0.0, (now.busy - before.busy) / seconds - own),
        stolen=max(0.0, now.stolen - before.stolen) / seconds,
        idle=max(0.0, now.idle - before.idle) / seconds,
        load_average=os.getloadavg()[0],
    )


def summarize_load(samples: Sequence[LoadSample], start_s: float | None = None) -> LoadSummary | None:
    """From start_s on, or of all samples where there is none so late. None without samples."""
    kept = [sample for sample in samples if start_s is None or sample.time_s >= start_s] or list(samples)
    if not kept:
        return None

    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(kept)

    return LoadSummary(
        samples=len(kept),
        cores=kept[0].cores,
        others=mean(sample.others for sample in kept),
        stolen=mean(sample.stolen for sample in kept),
        idle=mean(sample.idle for sample in kept),
        load_average=mean(sample.load_average for sample in kept),
        delay=mean(sample.delay for sample in kept),
    )


def write_load(samples: Sequence[LoadSample], folder: Path) -> None:
    (folder / LOAD_FILE).write_bytes(b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples))


def read_load(folder: Path) -> list[LoadSample]:
    """Empty where nothing was sampled."""
    path = folder / LOAD_FILE
    return msgspec.json.Decoder(LoadSample).decode_lines(path.read_bytes()) if path.exists() else []


def load_before(seconds: float = EVERY_S) -> tuple[LoadSummary, list[str]]:
    """What others take now, while nothing of ours runs, and the names of those that take most."""
    first, busy_before = _read_counters(), _others_s()
    time.sleep(seconds)
    second, busy_after = _read_counters(), _others_s()
    used = {key: (spent - busy_before[key][0], name) for key, (spent, name) in busy_after.items() if key in busy_before}
    top = sorted(used.values(), reverse=True)[:SHOWN]
    names = [f"{name} {spent / seconds:.1f}" for spent, name in top if spent / seconds >= SHOWN_CORES]
    summary = summarize_load([_between(first, second)])
    assert summary is not None
    return summary, names


def _others_s() -> dict[tuple[int, float], tuple[float, str]]:
    """Processor time and name of all processes that are not ours, as far as they can be seen."""
    own = {process.pid for process in [psutil.Process(), *psutil.Process().children(recursive=True)]}
    found: dict[tuple[int, float], tuple[float, str]] = {}
    for process in psutil.process_iter():
        if process.pid not in own:
            try:
                times = process.cpu_times()
                found[process.pid, process.create_time()] = times.user + times.system, process.name()
            except psutil.Error:
                continue
    return found
