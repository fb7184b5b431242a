"""What loading takes, part by part: seconds until a part can be used, and the bytes that it holds."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

import torch

from pp1_orchestrator.runtime.checkpoint import Components

log = logging.getLogger(__name__)


class LoadPhases:
    """One rank's parts, in the order in which they were loaded."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.components: Components = {}

    @contextlib.contextmanager
    def phase(self, name: str, device: torch.device) -> Iterator[Components]:
        """Time the loading of one part; the bytes of its components are written into what it yields."""
        start, parts = time.monotonic(), Components()
        yield parts
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds[name] = time.monotonic() - start
        self.components |= parts
        held = ", ".join(f"{component} {nbytes / 1e6:.1f} MB" for component, nbytes in parts.items())
        log.info("%s: loaded in %.1f s (%s)", name, self.seconds[name], held)
