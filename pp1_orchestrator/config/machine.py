"""Settings of `run=plan`: the machine that is planned for, and what is asked. All values come from `conf/`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Rate = Annotated[float, Meta(gt=0, le=1e6)]
Count = Annotated[int, Meta(ge=0, le=64)]


class MachineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a machine has. All is null where it is measured; see conf/machine/.

    rates: of a GPU, by operation and size, as a file of `planning/rates/` or of one's own. They hold for a GPU with the
    peaks that the file names; this machine's reach the same shares of their own. host_rates: the same for one core.
    """

    name: str
    source: str
    gpus: Count | None
    gpu: str | None
    memory_gib: Rate | None
    bf16_tflops: Rate | None
    fp8_tflops: Rate | None
    fp32_tflops: Rate | None
    bandwidth_gb_s: Rate | None
    processors: Annotated[int, Meta(ge=1)] | None
    attention: Literal["flash-attn-4", "cudnn"] | None
    rates: str | None
    link: str | None
    link_gb_s: Rate | None
    link_latency_us: Rate | None
    host_cores: Annotated[int, Meta(ge=1)] | None
    host_memory_gib: Rate | None
    host_rates: str | None


class PlanSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """See conf/config.yaml."""

    measure: bool
    search: bool
    target_fps: Rate
    gpus: Annotated[int, Meta(ge=1, le=64)] | None
    fallback: str
