"""The machine that a plan is for, from its settings: the rates of each part of a run on it, its link and its memory."""

from collections.abc import Mapping

import torch

from pp1_orchestrator.config.machine import MachineSettings
from pp1_orchestrator.config.schema import LayoutSettings, Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.loading.sources import text_device
from pp1_orchestrator.planning.calibrate import LinkSpeed, Machine, Rates
from pp1_orchestrator.planning.device_model import DeviceModel, DeviceTraits
from pp1_orchestrator.planning.part_profiles import Part, is_fused
from pp1_orchestrator.planning.profile import ModelProfile
from pp1_orchestrator.planning.rate_tables import RateTables, read_rates

GIB = 1 << 30
GPU, HOST = "cuda", "cpu"
FP8 = "float8_e4m3fn"
Tables = Mapping[str, RateTables]
"""By kind of device."""


def tables_of(machine: MachineSettings) -> dict[str, RateTables]:
    """The rates that the machine's settings name. Raises ConfigError for a file that can't be read."""
    names = {GPU: machine.rates, HOST: machine.host_rates}
    return {kind: read_rates(name) for kind, name in names.items() if name is not None}


def gpus_of(layout: LayoutSettings) -> list[str]:
    """The GPUs that the layout's ranks use."""
    return sorted({name for name in layout.devices if name.startswith(GPU)})


def has_fp8(machine: MachineSettings, tables: Tables) -> bool:
    """Whether its GPUs have 8-bit floats: by the datasheet, or by what was measured of a machine without peaks."""
    if machine.bf16_tflops is not None:
        return machine.fp8_tflops is not None
    return GPU in tables and bool(tables[GPU].products.get(FP8))


def planned_machine(settings: Settings, profile: ModelProfile, tables: Tables) -> Machine:
    """Raises ConfigError where the machine lacks the kind of device that the layout needs, or 8-bit floats."""
    layout, machine = settings.layout, settings.machine
    kinds = {torch.device(name).type for name in layout.devices}
    for kind in {HOST, *kinds} - tables.keys():  # the host passes messages
        raise ConfigError(f"layout={layout.name}: machine={machine.name} has no rates of a {kind} device")
    if layout.fp8 and not has_fp8(machine, tables):
        raise ConfigError(f"layout.fp8=true: machine={machine.name} has no 8-bit floats; possible: false")
    devices = {kind: _device_model(settings, kind, tables[kind]) for kind in tables}
    rates = {part: _part_rates(settings, profile, part, devices) for part in profile.work if part != "context"}
    on_gpu = torch.device(layout.device).type == GPU
    return Machine(
        name=machine.name,
        source=machine.source,
        device=f"{machine.gpus} × {machine.gpu}" if on_gpu else tables[HOST].name,
        torch_threads=layout.threads,
        parallel_ranks=ranks_at_a_time(settings),
        memory_bytes=int(GIB * ((machine.memory_gib if on_gpu else machine.host_memory_gib) or 0)),
        context_bytes=tables[GPU].context_bytes if GPU in tables else 0,
        gpus=machine.gpus,
        rates=rates,
        link=_link(settings, tables),
        calibration_s=0.0,
    )


def ranks_at_a_time(settings: Settings) -> int | None:
    """How many ranks compute at the same time; None where each has its own device."""
    names = settings.layout.devices
    if torch.device(names[0]).type == HOST:
        return max(1, (settings.machine.host_cores or 1) // settings.layout.threads)
    distinct = len(set(names))
    return distinct if distinct < len(names) else None


def _part_rates(settings: Settings, profile: ModelProfile, part: Part, devices: Mapping[str, DeviceModel]) -> Rates:
    layout = settings.layout
    stage0, mesh = (torch.device(layout.device_of(rank)) for rank in (0, 1))
    text_home = stage0 if settings.routing.encoder == "rank0" else mesh
    place = {"generator": mesh, "text": text_device(settings, text_home)}.get(part, stage0)
    launched = not (is_fused(settings) if part == "generator" else part == "decode" and layout.compile)
    return devices[place.type].rates(profile.work[part], launched=launched)


def _device_model(settings: Settings, kind: str, tables: RateTables) -> DeviceModel:
    machine, tera = settings.machine, 1e12
    if kind == HOST:
        workers = min(settings.layout.threads, machine.host_cores or 1)
        return DeviceModel(tables, DeviceTraits({}, None, workers=workers))
    by_type = {"bfloat16": machine.bf16_tflops, FP8: machine.fp8_tflops, "float32": machine.fp32_tflops}
    peaks = {name: peak * tera for name, peak in by_type.items() if peak is not None}
    bandwidth = machine.bandwidth_gb_s * 1e9 if machine.bandwidth_gb_s else None
    return DeviceModel(tables, DeviceTraits(peaks, bandwidth, machine.attention or "cudnn", machine.processors or 1))


def _link(settings: Settings, tables: Tables) -> LinkSpeed:
    machine, host, ranks = settings.machine, tables[HOST], settings.layout.mesh_ranks
    message_s, bytes_s = host.message_s or 0.0, host.message_bytes_s or 1e9
    if torch.device(settings.layout.devices[1]).type == HOST or ranks == 1:
        return LinkSpeed(message_s=message_s, bytes_s=bytes_s, sum_s=message_s, sum_bytes_s=bytes_s, method="by memory")
    if machine.link_gb_s is None or machine.link_latency_us is None:  # all ranks on one GPU: through the host
        return LinkSpeed(message_s=message_s, bytes_s=bytes_s, sum_s=message_s, sum_bytes_s=bytes_s, method="by memory")
    ring = ranks / (2 * (ranks - 1))
    return LinkSpeed(
        message_s=message_s,
        bytes_s=bytes_s,
        sum_s=machine.link_latency_us / 1e6,
        sum_bytes_s=machine.link_gb_s * 1e9 * ring,
        method=machine.link or "link",
    )
