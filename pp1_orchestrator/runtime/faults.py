"""Scripted faults: a mesh rank that fails in a chosen way at a chosen chunk, for testing what is done about it.

Wrappers around a rank's generator or the leader's channel, made only where a fault is asked for. A fault happens to a
run's first mesh, once: the mesh that comes after it is a good one, but for `LASTING`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.config.schema import FaultSettings, Settings
from pp1_orchestrator.mesh.worker import Generator
from pp1_orchestrator.runtime.around import AroundGenerator
from pp1_orchestrator.transport.groups import LEADER
from pp1_orchestrator.transport.link import Channel

NO_FAULT = "none"
EXIT_CODE = 3


class WorkFault(Protocol):
    """Goes wrong in place of a chunk's denoising, or after it."""

    def __init__(self, settings: FaultSettings) -> None: ...

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor: ...


class AnswerFault(Protocol):
    """What is sent in place of the leader's answer. message: its tensors, the header first."""

    def __init__(self, settings: FaultSettings) -> None: ...

    def run(self, message: Sequence[Tensor]) -> Sequence[Tensor]: ...


class _Fault:
    """What all of them are made of."""

    def __init__(self, settings: FaultSettings) -> None:
        self._seconds = settings.seconds


class Raise(_Fault):
    """An exception."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        raise RuntimeError("a scripted fault")


class Exit(_Fault):
    """The process ends by itself, without a word."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        os._exit(EXIT_CODE)


class Kill(_Fault):
    """SIGKILL."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return denoise()


class Stop(_Fault):
    """SIGSTOP: alive, and nothing more. Goes on if somebody lets it."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        os.kill(os.getpid(), signal.SIGSTOP)
        return denoise()


class Sleep(_Fault):
    """Late by so many seconds."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        time.sleep(self._seconds)
        return denoise()


class Skip(_Fault):
    """The passes are left out, and with them the collectives in which the others wait."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        return noise


class OutOfMemory(_Fault):
    """As on a device that is full."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        raise torch.OutOfMemoryError("out of memory: a scripted fault")


class DeviceError(_Fault):
    """As of a device that has failed: torch tells it in several lines, and no later work on the device succeeds."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        raise torch.AcceleratorError("CUDA error: a scripted fault\nDevice-side assertions may tell more.\n")


class NotFinite(_Fault):
    """Latents that are no numbers; the rank's context pass then writes them into its cache."""

    def run(self, noise: Tensor, denoise: Callable[[], Tensor]) -> Tensor:
        return torch.full_like(denoise(), torch.nan)


class Corrupt(_Fault):
    """A header that is not one of this contract."""

    def run(self, message: Sequence[Tensor]) -> Sequence[Tensor]:
        return [message[0] + 1, *message[1:]]


class Drop(_Fault):
    """Nothing is sent."""

    def run(self, message: Sequence[Tensor]) -> Sequence[Tensor]:
        return []


class Delay(_Fault):
    """Sent so many seconds later."""

    def run(self, message: Sequence[Tensor]) -> Sequence[Tensor]:
        time.sleep(self._seconds)
        return message


class Repeat(_Fault):
    """Sent twice."""

    def run(self, message: Sequence[Tensor]) -> Sequence[Tensor]:
        return [*message, *message]


WORK_FAULTS: Mapping[str, type[WorkFault]] = {
    "raise": Raise,
    "exit": Exit,
    "kill": Kill,
    "stop": Stop,
    "sleep": Sleep,
    "skip": Skip,
    "not_finite": NotFinite,
    "oom": OutOfMemory,
    "oom_twice": OutOfMemory,
    "device": DeviceError,
    "device_lasting": DeviceError,
}
TIMES: Mapping[str, int] = {"oom_twice": 2}
"""How often in a row, where that is not once."""
LASTING = frozenset({"device_lasting"})
"""Those that happen to each mesh anew, at that chunk of its own: what is broken stays broken."""
ANSWER_FAULTS: Mapping[str, type[AnswerFault]] = {
    "corrupt": Corrupt,
    "drop": Drop,
    "delay": Delay,
    "repeat": Repeat,
}
START_FAULTS: Mapping[str, str] = {"hang_loading": "load", "hang_joining": "join"}
"""A rank that sleeps before it loads its weights, or before it takes part in making the groups."""
HANG_DECODING = "hang_decoding"
"""Rank 0 sleeps in place of decoding (`runtime.stage0_faults`)."""
KINDS = frozenset({NO_FAULT, HANG_DECODING, *WORK_FAULTS, *ANSWER_FAULTS, *START_FAULTS})
INLINE_FAULTS = frozenset(
    {"raise", "sleep", "not_finite", "oom", "oom_twice", "device", "device_lasting", HANG_DECODING}
)
"""Those that a mesh in rank 0's process can have: they leave the process and the wire alone."""


def with_work_fault(generator: Generator, rank: int, settings: Settings) -> Generator:
    """The generator of a mesh rank, with the fault that it is to have."""
    fault = settings.debug.fault
    if fault.kind not in WORK_FAULTS or fault.rank != rank:
        return generator
    return FaultyGenerator(generator, WORK_FAULTS[fault.kind](fault), fault.chunk, TIMES.get(fault.kind, 1))


def with_answer_fault(channel: Channel, settings: Settings) -> Channel:
    """The leader's channel to rank 0, with the fault that it is to have."""
    fault = settings.debug.fault
    if fault.kind not in ANSWER_FAULTS or fault.rank != LEADER:
        return channel
    return FaultyChannel(channel, ANSWER_FAULTS[fault.kind](fault), fault.chunk)


def meet_start_fault(settings: Settings, rank: int, step: str) -> None:
    """Called by a mesh rank before each step of its start."""
    fault = settings.debug.fault
    if START_FAULTS.get(fault.kind) == step and fault.rank == rank:
        time.sleep(fault.seconds)


def without_fault(settings: Settings) -> Settings:
    """The same settings for the meshes after the first one."""
    if settings.debug.fault.kind in LASTING:
        return settings
    fault = msgspec.structs.replace(settings.debug.fault, kind=NO_FAULT)
    return msgspec.structs.replace(settings, debug=msgspec.structs.replace(settings.debug, fault=fault))


class FaultyGenerator(AroundGenerator):
    """chunk: which of a first mesh's chunks goes wrong, and `times` - 1 after it; each is denoised once, in order."""

    def __init__(self, generator: Generator, fault: WorkFault, chunk: int, times: int) -> None:
        super().__init__(generator)
        self._fault, self._left, self._times = fault, chunk, times

    def denoise(
        self, noise: Tensor, steps: tuple[float, ...], start_frame: int, seed: int, bias: float = 1.0
    ) -> Tensor:
        def work() -> Tensor:
            return self._generator.denoise(noise, steps, start_frame, seed, bias)

        self._left -= 1
        return self._fault.run(noise, work) if -self._times <= self._left < 0 else work()


class FaultyChannel(Channel):
    """chunk: which of a first mesh's answers goes wrong; each is sent once, in order."""

    def __init__(self, channel: Channel, fault: AnswerFault, chunk: int) -> None:
        self._channel, self._fault, self._left = channel, fault, chunk
        self.device = channel.device

    def receive(self, tensor: Tensor) -> None:
        self._channel.receive(tensor)

    def start_send(self, tensors: Sequence[Tensor]) -> Callable[[], None]:
        self._left -= 1
        return self._channel.start_send(self._fault.run(tensors) if self._left == -1 else tensors)
