"""Everything that the frozen tests import from the project. All else goes through the command line, HTTP and files."""

from pathlib import Path

import torch

from pp1_orchestrator.stage0.timeline import read_script
from tests.contract.golden.make import decoded
from tests.contract.golden.messages import WHOLE, as_bytes
from tests.system.in_process import run_script

WIRE_VERSION = "v2-"
"""The prefix of the messages that are frozen."""


def wire_messages() -> dict[str, tuple[bytes, dict]]:
    """The bytes of each message, written now, and what a reader finds in them."""
    messages = {name: as_bytes(make()) for name, make in WHOLE.items() if name.startswith(WIRE_VERSION)}
    return {name: (data, decoded(data)) for name, data in messages.items()}


def machine_key() -> str:
    """What digests depend on besides the code: the CPU's vector instructions and the version of torch."""
    return f"{torch.backends.cpu.get_cpu_capability()} torch {torch.__version__}"


def run_inline(*choices: str, chunks: int, script: Path) -> dict[str, str]:
    """Digests of a small scripted stream in this process: as `run=bench layout=inline`, without the plan before it."""
    summary, _ = run_script(*choices, chunks=chunks, script=read_script(script))
    return {"latents_sha256": summary.latents_sha256, "pixels_sha256": summary.pixels_sha256}
