"""The optimiser: Muon for hidden matrices and kernels, AdamW for everything else.

Muon steps along the orthogonalised momentum, scaled to the usual size of an AdamW step (Muon is Scalable,
arXiv:2502.16982). Matrices of one shape are orthogonalised together. Learning rates are tensors, so that a step can be
captured in a CUDA graph. Knows nothing of models.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5
_ADAMW_SIZE = 0.2  # root mean square of a typical AdamW step
_BETAS = (0.9, 0.98)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Approximates U Vᵀ of each matrix [N, rows, columns] by a quintic Newton-Schulz iteration."""
    a, b, c = _NEWTON_SCHULZ
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class MuonAdamW:
    """Both optimisers. AdamW's rate is `adam_ratio` times Muon's."""

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        is_hidden: Callable[[str, nn.Parameter], bool],
        weight_decay: float,
        adam_ratio: float = 1.0,
        momentum: float = 0.95,
    ) -> None:
        self._decay, self._ratio, self._momentum = weight_decay, adam_ratio, momentum
        self._groups: dict[torch.Size, list[nn.Parameter]] = {}
        plain: list[nn.Parameter] = []
        for name, parameter in named:
            if is_hidden(name, parameter):
                self._groups.setdefault(parameter.flatten(1).shape, []).append(parameter)
            else:
                plain.append(parameter)
        device = plain[0].device
        self._momenta = {shape: torch.zeros(len(group), *shape, device=device) for shape, group in self._groups.items()}
        self._rate, self._adam_rate = torch.zeros((), device=device), torch.zeros((), device=device)
        decayed = [p for p in plain if p.ndim > 1]
        free = [p for p in plain if p.ndim <= 1]
        self._adamw = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=self._adam_rate,
            betas=_BETAS,
            fused=device.type == "cuda",
            capturable=device.type == "cuda",
        )
        for group in self._adamw.param_groups:
            group["lr"] = self._adam_rate

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate."""
        self._rate.fill_(rate)
        self._adam_rate.fill_(rate * self._ratio)

    @torch.no_grad()
    def step(self) -> None:
        """Updates the parameters from their gradients."""
        self._adamw.step()
        for shape, parameters in self._groups.items():
            self._muon(shape, parameters)

    @torch.no_grad()
    def reset(self) -> None:
        """Restores the state before the first step, in place."""
        for momentum in self._momenta.values():
            momentum.zero_()
        for state in self._adamw.state.values():
            for value in state.values():
                value.zero_()

    def _muon(self, shape: torch.Size, parameters: list[nn.Parameter]) -> None:
        gradient = torch.stack([_gradient(p).reshape(shape) for p in parameters]).float()
        momentum = self._momenta[shape]
        momentum.lerp_(gradient, 1 - self._momentum)
        direction = orthogonalize(gradient.lerp(momentum, self._momentum))
        update = direction * (self._rate * -_ADAMW_SIZE * max(shape) ** 0.5)
        steps = [one.view(p.shape) for one, p in zip(update.unbind(0), parameters, strict=True)]
        values: list[Tensor] = [*parameters]
        torch._foreach_mul_(values, 1 - self._rate * self._decay)
        torch._foreach_add_(values, steps)


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        raise ValueError(f"a parameter of shape {list(parameter.shape)} has no gradient")
    return parameter.grad


def warmup_then_linear(progress: float, step: int, warmup: int, decay: float) -> float:
    """The factor on the learning rate: linear warmup, constant, then linear decay to zero.

    Args:
        progress: the share of the run's time that has passed, 0…1.
        warmup: steps.
        decay: the share of the run's time.
    """
    return min(1.0, (step + 1) / warmup) * min(1.0, (1 - progress) / decay + 0.003)


class Average:
    """Exponential moving average of a module's parameters, kept in a copy of it."""

    def __init__(self, source: nn.Module, target: nn.Module, decay: float) -> None:
        self._source: list[Tensor] = [*source.parameters()]
        self._target: list[Tensor] = [*target.parameters()]
        self._decay = decay
        self._share = torch.ones((), device=self._target[0].device)

    def set_step(self, step: int) -> None:
        """Sets the number of past steps. The average follows faster at the start, while it has little history."""
        self._share.fill_(1 - min(self._decay, (step + 1) / (step + 11)))

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the source by one step."""
        difference = torch._foreach_sub(self._source, self._target)
        torch._foreach_mul_(difference, self._share)
        torch._foreach_add_(self._target, difference)
