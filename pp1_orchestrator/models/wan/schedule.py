"""The noise levels of denoising steps, in plain numbers: settings are checked with them before torch is imported.

They are those of flow matching: with shift s, σ(u) = s·u / (1 + (s−1)·u) over u = 1 − j/1000, t_j = 1000·σ.
Source: rectified flow with shift, arXiv:2403.03206; the table is Self-Forcing's with sigma_min 0.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

TRAIN_STEPS = 1000


def shifted_sigma(u: float, shift: float) -> float:
    return shift * u / (1 + (shift - 1) * u)


def unshifted(sigma: float, shift: float) -> float:
    """The u with `shifted_sigma(u, shift)` = sigma."""
    return sigma / (shift - (shift - 1) * sigma)


@dataclass(frozen=True, slots=True)
class NoiseStep:
    """One denoising step: the model's timestep input and the noise level of its latents."""

    timestep: float
    sigma: float


class FlowSchedule:
    """Converts nominal steps to timesteps and noise levels, in float64.

    warp: a nominal step i means the shifted time of u = i/1000; otherwise it is a time already.
    """

    def __init__(self, shift: float = 1.0, warp: bool = False) -> None:
        self._sigmas = [shifted_sigma(1 - j / TRAIN_STEPS, shift) for j in range(TRAIN_STEPS)]
        self._shift, self._warp = shift, warp

    def step(self, nominal: float) -> NoiseStep:
        """Nominal 1…1000 -> its timestep, and the σ of the nearest t_j."""
        time = float(nominal)
        if self._warp:
            time = TRAIN_STEPS * shifted_sigma(nominal / TRAIN_STEPS, self._shift)
        sigma = min(self._sigmas, key=lambda sigma: abs(TRAIN_STEPS * sigma - time))
        return NoiseStep(timestep=time, sigma=sigma)

    def nominal(self, time: float) -> float:
        """The nominal step with this timestep."""
        return TRAIN_STEPS * unshifted(time / TRAIN_STEPS, self._shift) if self._warp else time

    def steps(self, nominal: Sequence[float]) -> list[NoiseStep]:
        """`step` of each. Raises ValueError if the list is empty or noise does not fall from step to step."""
        if not all(0 <= n <= TRAIN_STEPS for n in nominal):
            raise ValueError(f"denoising steps {list(nominal)} must be times from {TRAIN_STEPS} to 0")
        out = [self.step(n) for n in nominal]
        if not out or any(a.sigma <= b.sigma for a, b in itertools.pairwise(out)):
            raise ValueError(f"denoising steps {list(nominal)} must fall from step to step, and there must be one")
        return out
