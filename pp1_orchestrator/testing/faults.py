"""Scripted faults: one rank fails in a chosen way at a chosen chunk, for testing what is done about it.

Wrappers around a generator, the leader's channel or a decoder, made only where a fault is asked for. A fault happens
once, to a run's first mesh; the meshes after it have none, except for `LASTING`.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.models.vae.base import DecodeState, StreamingDecoder
from pp1_orchestrator.models.wan.generator import CausalGenerator
from pp1_orchestrator.testing.wrappers import override
from pp1_orchestrator.transport.link import Channel
from pp1_orchestrator.transport.process_groups import LEADER

NO_FAULT = "none"
EXIT_CODE = 3

Denoise = Callable[[], Tensor]
WorkFault = Callable[[Tensor, Denoise, float], Tensor]
"""What happens in place of one chunk's denoising: (noise, denoise, debug.fault.seconds) -> latents."""
AnswerFault = Callable[[Sequence[Tensor], float], Sequence[Tensor]]
"""What is sent in place of one answer: (its tensors, the header first, debug.fault.seconds) -> tensors."""


def _raise(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    raise RuntimeError("a scripted fault")


def _exit(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    os._exit(EXIT_CODE)


def _kill(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return denoise()


def _stop(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    """SIGSTOP: the process stays, and continues if somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return denoise()


def _sleep(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    time.sleep(seconds)
    return denoise()


def _skip(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    """Leave out the passes, and with them the collectives in which the other ranks wait."""
    return noise


def _out_of_memory(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    raise torch.OutOfMemoryError("out of memory: a scripted fault")


def _device_error(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    """As of a failed device: torch's message has several lines."""
    raise torch.AcceleratorError("CUDA error: a scripted fault\nDevice-side assertions may tell more.\n")


def _not_finite(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
    """NaN latents. The rank's context pass then writes them into its cache."""
    return torch.full_like(denoise(), torch.nan)


def _corrupt(message: Sequence[Tensor], seconds: float) -> Sequence[Tensor]:
    """A header that is not of this contract."""
    return [message[0] + 1, *message[1:]]


def _drop(message: Sequence[Tensor], seconds: float) -> Sequence[Tensor]:
    return []


def _delay(message: Sequence[Tensor], seconds: float) -> Sequence[Tensor]:
    time.sleep(seconds)
    return message


def _repeat(message: Sequence[Tensor], seconds: float) -> Sequence[Tensor]:
    return [*message, *message]


WORK_FAULTS: Mapping[str, WorkFault] = {
    "raise": _raise,
    "exit": _exit,
    "kill": _kill,
    "stop": _stop,
    "sleep": _sleep,
    "skip": _skip,
    "not_finite": _not_finite,
    "oom": _out_of_memory,
    "oom_twice": _out_of_memory,
    "device": _device_error,
    "device_lasting": _device_error,
}
TIMES: Mapping[str, int] = {"oom_twice": 2}
"""Consecutive chunks that fail, where that is not 1."""
LASTING = frozenset({"device_lasting"})
"""Faults of every mesh, at that chunk of each: what is broken stays broken."""
ANSWER_FAULTS: Mapping[str, AnswerFault] = {"corrupt": _corrupt, "drop": _drop, "delay": _delay, "repeat": _repeat}
START_FAULTS: Mapping[str, str] = {"hang_loading": "load", "hang_joining": "join"}
"""A rank sleeps before this step of its start: before it loads weights, or before it makes the groups."""
HANG_DECODING = "hang_decoding"
"""Rank 0 sleeps before it decodes."""
KINDS = frozenset({NO_FAULT, HANG_DECODING, *WORK_FAULTS, *ANSWER_FAULTS, *START_FAULTS})
INLINE_FAULTS = frozenset(
    {"raise", "sleep", "not_finite", "oom", "oom_twice", "device", "device_lasting", HANG_DECODING}
)
"""Faults that a mesh in rank 0's process can have: they leave the process and the wire alone."""


def with_work_fault(generator: CausalGenerator, rank: int, settings: Settings) -> CausalGenerator:
    """A mesh rank's generator, with its fault if it has one. Each chunk is denoised once, in order."""
    fault = settings.debug.fault
    if fault.kind not in WORK_FAULTS or fault.rank != rank:
        return generator
    run, chunk, times = WORK_FAULTS[fault.kind], 0, TIMES.get(fault.kind, 1)

    def denoise(noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        nonlocal chunk

        def work() -> Tensor:
            return generator.denoise(noise, *args, **kwargs)

        chunk += 1
        return run(noise, work, fault.seconds) if 0 < chunk - fault.chunk <= times else work()

    return override(generator, denoise=denoise)


def with_answer_fault(channel: Channel, settings: Settings) -> Channel:
    """The leader's channel to rank 0, with its fault if it has one. Each answer is sent once, in order."""
    fault = settings.debug.fault
    if fault.kind not in ANSWER_FAULTS or fault.rank != LEADER:
        return channel
    run, answers = ANSWER_FAULTS[fault.kind], 0

    def start_send(tensors: Sequence[Tensor]) -> Callable[[], None]:
        nonlocal answers
        answers += 1
        return channel.start_send(run(tensors, fault.seconds) if answers == fault.chunk + 1 else tensors)

    return override(channel, start_send=start_send)


def with_stage0_fault(decoder: StreamingDecoder, settings: Settings) -> StreamingDecoder:
    """Rank 0's decoder, with its fault if it has one: one decode hangs, those after it do not."""
    fault = settings.debug.fault
    if fault.kind != HANG_DECODING:
        return decoder
    frames_left = fault.chunk * settings.model.window.chunk

    def decode(latents: Tensor, state: DecodeState) -> Tensor:
        nonlocal frames_left
        if frames_left == 0:
            time.sleep(fault.seconds)
        frames_left -= len(latents)
        return decoder.decode(latents, state)

    return override(decoder, decode=decode)


def apply_start_fault(settings: Settings, rank: int, step: str) -> None:
    """A mesh rank calls this before each step of its start."""
    fault = settings.debug.fault
    if START_FAULTS.get(fault.kind) == step and fault.rank == rank:
        time.sleep(fault.seconds)


def without_fault(settings: Settings) -> Settings:
    """The same settings for the meshes after the first one."""
    if settings.debug.fault.kind in LASTING:
        return settings
    fault = msgspec.structs.replace(settings.debug.fault, kind=NO_FAULT)
    return msgspec.structs.replace(settings, debug=msgspec.structs.replace(settings.debug, fault=fault))
