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


def _before(act: Callable[[float], object]) -> WorkFault:
    """Act, then denoise."""

    def work(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
        act(seconds)
        return denoise()

    return work


def _raise(make: Callable[[], Exception]) -> WorkFault:
    def work(noise: Tensor, denoise: Denoise, seconds: float) -> Tensor:
        raise make()

    return work


def _delay(message: Sequence[Tensor], seconds: float) -> Sequence[Tensor]:
    time.sleep(seconds)
    return message


_OUT_OF_MEMORY = _raise(lambda: torch.OutOfMemoryError("out of memory: a scripted fault"))
_DEVICE_ERROR = _raise(  # as of a failed device: torch's message has several lines
    lambda: torch.AcceleratorError("CUDA error: a scripted fault\nDevice-side assertions may tell more.\n")
)
WORK_FAULTS: Mapping[str, WorkFault] = {
    "raise": _raise(lambda: RuntimeError("a scripted fault")),
    "exit": _before(lambda _: os._exit(EXIT_CODE)),
    "kill": _before(lambda _: os.kill(os.getpid(), signal.SIGKILL)),
    "stop": _before(lambda _: os.kill(os.getpid(), signal.SIGSTOP)),  # continues if somebody sends SIGCONT
    "sleep": _before(time.sleep),
    # Leaves out the passes, and with them the collectives in which the other ranks wait.
    "skip": lambda noise, denoise, seconds: noise,
    # The rank's context pass then writes the NaN latents into its cache.
    "not_finite": lambda noise, denoise, seconds: torch.full_like(denoise(), torch.nan),
    "oom": _OUT_OF_MEMORY,
    "oom_twice": _OUT_OF_MEMORY,
    "device": _DEVICE_ERROR,
    "device_lasting": _DEVICE_ERROR,
}
TIMES: Mapping[str, int] = {"oom_twice": 2}
"""Consecutive chunks that fail, where that is not 1."""
LASTING = frozenset({"device_lasting"})
"""Faults of every mesh, at that chunk of each: what is broken stays broken."""
ANSWER_FAULTS: Mapping[str, AnswerFault] = {
    "corrupt": lambda message, seconds: [message[0] + 1, *message[1:]],  # a header that is not of this contract
    "drop": lambda message, seconds: [],
    "delay": _delay,
    "repeat": lambda message, seconds: [*message, *message],
}
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
