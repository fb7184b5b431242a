"""Everything that the frozen tests import from the project. All else goes through the command line, HTTP and files."""

import hashlib
import platform
from pathlib import Path

import torch
import torch.nn.functional as F

from pp1_orchestrator.stage0.timeline import read_script
from tests.contract.golden.make import decoded
from tests.contract.golden.messages import WHOLE, as_bytes
from tests.system.in_process import run_script

WIRE_VERSION = "v3-"
"""The prefix of the messages that are frozen."""


def wire_messages() -> dict[str, tuple[bytes, dict]]:
    """The bytes of each message, written now, and what a reader finds in them."""
    messages = {name: as_bytes(make()) for name, make in WHOLE.items() if name.startswith(WIRE_VERSION)}
    return {name: (data, decoded(data)) for name, data in messages.items()}


def machine_key() -> str:
    """What digests depend on besides the code: the CPU's maker and vector instructions, torch, and the last bits."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{_maker()} {capability} torch {torch.__version__} bits {_last_bits()}"


def _maker() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), platform.machine())


def _last_bits() -> str:
    """A digest of torch's own results for operations like the models'. CPUs with the same instructions may differ."""
    draw, digest = torch.Generator().manual_seed(0), hashlib.sha256()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for rows, inner, columns in ((192, 128, 128), (192, 128, 512), (64, 512, 128), (7, 100, 33)):
        product = torch.randn(rows, inner, generator=draw) @ torch.randn(inner, columns, generator=draw)
        for result in (
            product,
            F.gelu(product, approximate="tanh"),
            product.softmax(-1),
            F.layer_norm(product, (columns,)),
        ):
            digest.update(result.numpy().tobytes())
    frames, kernel = torch.randn(1, 32, 3, 16, 16, generator=draw), torch.randn(48, 32, 3, 3, 3, generator=draw)
    digest.update(F.conv3d(frames, kernel, padding=1).numpy().tobytes())
    digest.update(F.conv2d(frames[:, :, 0], kernel[:, :, 0], padding=1).numpy().tobytes())
    q, k, v = torch.randn(3, 1, 4, 192, 32, generator=draw)
    digest.update(F.scaled_dot_product_attention(q, k, v).numpy().tobytes())
    torch.set_num_threads(threads)
    return digest.hexdigest()[:12]


def run_inline(*choices: str, chunks: int, script: Path) -> dict[str, str]:
    """Digests of a small scripted stream in this process: as `run=bench layout=inline`, without the plan before it."""
    summary, _ = run_script(*choices, chunks=chunks, script=read_script(script))
    return {"latents_sha256": summary.latents_sha256, "pixels_sha256": summary.pixels_sha256}
