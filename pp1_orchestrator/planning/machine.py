"""The stated model of a machine: a few rates, measured on the spot, from which all times are predicted."""

from __future__ import annotations

import msgspec

from pp1_orchestrator.planning.work import Work


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one rank does one part's own shapes; 0 where the part has no such work.

    flops_s of matrix products, attention and convolutions; bytes_s of everything else.
    """

    matmul_flops_s: float
    attention_flops_s: float
    conv_flops_s: float
    other_bytes_s: float


class LinkSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """A message of n bytes takes message_s + n / bytes_s, a sum over the mesh sum_s + n / bytes_s.

    sum_s is met in the middle of work, and includes the wait for the slowest rank. method: how this was measured.
    """

    message_s: float
    sum_s: float
    bytes_s: float
    method: str

    def messages(self, count: int, nbytes: int) -> float:
        """Seconds of so many messages with so many bytes in all."""
        return count * self.message_s + nbytes / self.bytes_s

    def sums(self, count: int, nbytes: int) -> float:
        """Seconds of so many sums with so many bytes in all."""
        return count * self.sum_s + nbytes / self.bytes_s


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """call_s: the cost of one operation beside its own work, mostly Python's.

    lanes: ranks that can compute at the same time; None where each has a device of its own. memory_bytes: what the
    device has in all. calibration_s: what measuring took.
    """

    device: str
    torch_threads: int
    lanes: int | None
    memory_bytes: int
    rates: dict[str, Rates]
    call_s: float
    link: LinkSpeed
    calibration_s: float


def product_seconds(work: Work, rates: Rates) -> float:
    """Time of a part's products alone. Raises ValueError for work of a kind whose rate was not measured."""
    loads = (
        (work.flops_of("matmul"), rates.matmul_flops_s),
        (work.flops_of("attention"), rates.attention_flops_s),
        (work.flops_of("conv"), rates.conv_flops_s),
    )
    return sum(_seconds(amount, rate) for amount, rate in loads)


def compute_seconds(work: Work, rates: Rates, call_s: float) -> float:
    """Time of a part on one rank, without its sums over the mesh. Raises as `product_seconds` does."""
    return product_seconds(work, rates) + _seconds(work.other_bytes, rates.other_bytes_s) + work.calls * call_s


def _seconds(amount: int, rate: float) -> float:
    if amount and not rate:
        raise ValueError("there is work of a kind whose rate was not measured")
    return amount / rate if amount else 0.0
