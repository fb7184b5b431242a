"""Shared by all training commands: device, precision, logging, wall-clock schedule, checkpoint files."""

import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_log = logging.getLogger(__name__)


def set_up(seed: int) -> torch.device:
    """Sets up logging to stdout, the seed and TF32, and returns the device: CUDA if available."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stdout, format="%(relativeCreated)8d ms %(name)s: %(message)s", force=True
    )
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch._dynamo.config.recompile_limit = 64  # a graph for each width and each length of the past
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    _log.info("torch %s on %s", torch.__version__, name)
    return device


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 autocast on a GPU, plain float32 on the CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


class Schedule:
    """The progress of a run that ends after `seconds`, or after `max_steps` if that is earlier."""

    def __init__(self, seconds: float, max_steps: int | None = None) -> None:
        self._seconds, self._max_steps = seconds, max_steps
        self._start = time.monotonic()
        self.steps = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    @property
    def progress(self) -> float:
        """0…1, 1 at the end of the run."""
        share = self.elapsed / self._seconds
        if self._max_steps is not None:
            share = max(share, self.steps / self._max_steps)
        return min(1.0, share)


def save_weights(path: Path, module: nn.Module, extra: Mapping[str, Tensor] | None = None) -> None:
    """Writes a module's state as float32 safetensors, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().float().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    part = path.with_suffix(".part")
    save_file({**state, **{name: value.cpu().contiguous() for name, value in (extra or {}).items()}}, part)
    part.replace(path)


def load_weights(path: Path, module: nn.Module, extra: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Loads a file of `save_weights` in place and returns the extra tensors. Raises OSError and RuntimeError."""
    state = load_file(path)
    found = {name: state.pop(name) for name in extra}
    module.load_state_dict(state)
    return found


def wait_for(path: Path, limit_s: float = 900.0) -> None:
    """Waits until a file exists. Raises TimeoutError."""
    deadline = time.monotonic() + limit_s
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} did not appear within {limit_s:.0f} s")
        time.sleep(0.5)
