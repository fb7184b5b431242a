"""`machine=here`: what this machine is, and its rates, measured once and kept in the cache folder of the user."""

import hashlib
import logging
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import psutil
import torch
import yaml

from pp1_orchestrator.config.machine import MachineSettings
from pp1_orchestrator.models.wan.ops.split_kv_attention import FLASH, attention_kernel, cudnn, flash_version
from pp1_orchestrator.planning import microbenchmarks as micro
from pp1_orchestrator.planning.calibrate import LinkSpeed
from pp1_orchestrator.planning.measured_rates import core_rates, gpu_rates
from pp1_orchestrator.planning.microbenchmarks import Stopwatch
from pp1_orchestrator.planning.planned_machine import GIB, GPU, HOST
from pp1_orchestrator.planning.rate_tables import RateTables
from pp1_orchestrator.typed_torch import device_properties

CORE_S, GPU_S = 0.004, 0.01
"""Spent on each size."""
VERSION = 1
"""Of what is measured."""
log = logging.getLogger(__name__)
Measure = Callable[[], RateTables]


def describe_here(source: str, link: LinkSpeed | None) -> MachineSettings:
    """This machine as the settings of a machine. source: of its rates. link: between its GPUs."""
    gpus = torch.cuda.device_count()
    properties = device_properties(torch.device(GPU, 0)) if gpus else None
    flash = bool(gpus) and attention_kernel(torch.device(GPU, 0), torch.bfloat16, 128) is not cudnn
    return MachineSettings(
        name="here",
        source=source,
        gpus=gpus,
        gpu=properties.name if properties else None,
        memory_gib=properties.total_memory / GIB if properties else None,
        bf16_tflops=None,
        fp8_tflops=None,
        fp32_tflops=None,
        bandwidth_gb_s=None,
        processors=properties.multi_processor_count if properties else None,
        attention=(FLASH if flash else "cudnn") if gpus else None,
        rates=None,
        link=link.method if link else None,
        link_gb_s=link.sum_bytes_s / 1e9 if link else None,
        link_latency_us=link.sum_s * 1e6 if link else None,
        host_cores=cores(),
        host_memory_gib=psutil.virtual_memory().total / GIB,
        host_rates=None,
    )


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def tables_here(kinds: Iterable[str], folder: Path, message: Callable[[], LinkSpeed]) -> dict[str, RateTables]:
    """Rates of these kinds of device, and always of a core. message: measures messages between processes."""
    measures: dict[str, Measure] = {HOST: lambda: _measure_core(message()), GPU: _measure_gpu}
    return {kind: _kept(kind, folder, measures[kind]) for kind in {HOST, *kinds}}


def _kept(kind: str, folder: Path, measure: Measure) -> RateTables:
    path = folder / f"{kind}-{_key(kind)}.yaml"
    try:
        return msgspec.convert(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader), RateTables)
    except FileNotFoundError:
        log.log(logging.INFO if kind == GPU else logging.DEBUG, "measuring this machine's %s, once", kind)
    except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        log.info("%s: %s; measuring anew", path, " ".join(str(error).split()))
    found, partial = measure(), path.with_suffix(f".{os.getpid()}")
    load = psutil.getloadavg()[0]
    if load > cores():  # a busy machine's rates are not kept
        return msgspec.structs.replace(found, source=f"{found.source} while it was busy (load {load:.0f})")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(yaml.safe_dump(msgspec.to_builtins(found), sort_keys=False))
        partial.replace(path)
    except OSError as error:
        log.info("%s: %s; the next plan measures anew", path, error)
    return found


def _key(kind: str) -> str:
    """Changes with what could change the rates."""
    device = device_properties(torch.device(GPU, 0)).name if kind == GPU else _processor()
    parts = (VERSION, device, cores(), torch.__version__, flash_version(), platform.python_version())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _measure_core(link: LinkSpeed) -> RateTables:
    messages = {"message_s": link.message_s, "message_bytes_s": link.bytes_s}
    found = {"name": _processor(), "source": "measured here", **messages, **core_rates(CORE_S)}
    return msgspec.convert(found, RateTables)


def _measure_gpu() -> RateTables:
    device = torch.device(GPU, 0)
    free, total = torch.cuda.mem_get_info(device)
    context = total - free - torch.cuda.memory_reserved(device)
    found = {"name": device_properties(device).name, "source": "measured here", "context_bytes": context}
    with torch.inference_mode():
        rates = gpu_rates(Stopwatch(device, GPU_S), ())
        return msgspec.convert({**found, "call_s": micro.call_seconds(device), **rates}, RateTables)
