"""A generator around another one, for those who change one thing that it does."""

from __future__ import annotations

from torch import Tensor

from pp1_orchestrator.mesh.worker import Generator


class AroundGenerator:
    """Does what the generator inside does. Implements `mesh.worker.Generator`."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    @property
    def calls(self) -> int:
        return self._generator.calls

    def reset(self) -> None:
        self._generator.reset()

    def set_text(self, embeds: Tensor) -> None:
        self._generator.set_text(embeds)

    def rebuild(self, context: Tensor, start_frame: int) -> None:
        self._generator.rebuild(context, start_frame)

    def denoise(
        self, noise: Tensor, steps: tuple[float, ...], start_frame: int, seed: int, bias: float = 1.0
    ) -> Tensor:
        return self._generator.denoise(noise, steps, start_frame, seed, bias)

    def write_context(self, latents: Tensor, start_frame: int) -> None:
        self._generator.write_context(latents, start_frame)

    def close(self) -> None:
        self._generator.close()
