"""Settings of a sweep (`-m`). All values come from `conf/`."""

from typing import Annotated

from msgspec import Meta, Struct

from pp1_orchestrator.config.bounds import Seconds


class SweepSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """repeats: runs of each job that measures. budget_s: no repeat begins that would end later; None: no limit."""

    repeats: Annotated[int, Meta(ge=1, le=100)]
    budget_s: Seconds | None
