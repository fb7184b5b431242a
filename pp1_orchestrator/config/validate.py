"""The rules that join several settings, all checked before a process is started.

Opens no weights, and imports torch only to ask for GPUs. Each error is one line that names the key, the value and what
is possible.
"""

import ctypes
import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from pp1_orchestrator.config.schema import INDEX, RANK, ClassSettings, ModelSettings, Settings
from pp1_orchestrator.config.source_settings import check_source
from pp1_orchestrator.contract.envelope import SIZE_MULTIPLE
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.models.wan.cache_rules import CACHE_RULES
from pp1_orchestrator.models.wan.config import DEGREE_RULES, WanConfig, holds_chunks
from pp1_orchestrator.models.wan.schedule import FlowSchedule, NoiseStep

RING, CLEAN_PASS = "ring", "clean_pass"
COMPILED_PARALLEL = ("tensor",)
"""Ways to split a model whose passes can be compiled."""
VAE_LEVELS = 4
"""Resolutions inside a Wan2.1 decoder."""
PLUGIN_API = "pp1_orchestrator.plugin_api"
"""Our own module; an option may always name a class in it."""
PLAN = "plan"
DRIVER = "libcuda.so.1"
"""Of NVIDIA's GPUs."""
DEVICE = re.compile(r"cpu|cuda(:\d{1,2})?")
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
CLASS = re.compile(rf"({MODULE.pattern}):[^\W\d]\w*")


def generator_config(model: ModelSettings) -> WanConfig:
    """The generator's sizes. Raises ConfigError if a config.json beside the weights says something else."""
    window = model.window
    sizes = msgspec.structs.asdict(model.sizes)
    config = WanConfig(**sizes, chunk_frames=window.chunk, local_attn_size=window.frames, sink_frames=window.sink)
    _check_config_json(model, sizes)
    return config


def _check_config_json(model: ModelSettings, sizes: dict[str, int]) -> None:
    path = model.part("generator")
    path = (path if path.is_dir() else path.parent) / "config.json"
    if model.weights != "checkpoint" or not path.is_file():
        return
    try:
        beside = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for key, value in sizes.items():
        if beside.get(key, value) != value:
            raise ConfigError(f"model.sizes.{key}={value}: {path} says {beside[key]}")


def check_size(key: str, value: int) -> None:
    """Raise ConfigError for a height or width that the model can't make."""
    if value % SIZE_MULTIPLE:
        lower = value // SIZE_MULTIPLE * SIZE_MULTIPLE
        near = f"{lower} or {lower + SIZE_MULTIPLE}" if lower else str(SIZE_MULTIPLE)
        raise ConfigError(f"{key}={value}: must be a multiple of {SIZE_MULTIPLE}, such as {near}")


def check_steps(model: ModelSettings) -> list[NoiseStep]:
    """The denoising steps. Raises ConfigError for a schedule that can't be run."""
    schedule = FlowSchedule(model.shift, model.warp)
    for key, steps in (("steps", model.steps), ("first_steps", model.first_steps)):
        try:
            if steps is not None:
                schedule.steps(steps)
        except ValueError as error:
            raise ConfigError(f"model.{key}={list(steps or ())}: {error}") from error
    return schedule.steps(model.steps)


def check_window(config: WanConfig) -> None:
    """Raise ConfigError for a window that the ring of the KV cache can't have."""
    chunk, frames, sink = config.chunk_frames, config.local_attn_size, config.sink_frames
    if not holds_chunks(chunk, frames, sink):
        raise ConfigError(
            f"model.window.frames={frames}: a window with model.window.sink={sink} must hold whole chunks of {chunk}, "
            "and so must the sink"
        )


def _check_parallel(settings: Settings, config: WanConfig) -> None:
    name, ranks = settings.parallel.name, settings.layout.mesh_ranks
    if name not in DEGREE_RULES:
        raise ConfigError(f"parallel={name}: not an option; choices: {', '.join(DEGREE_RULES)}")
    try:
        DEGREE_RULES[name](config, ranks)
    except ValueError as error:
        raise ConfigError(f"layout.mesh_ranks={ranks}: {error}") from error
    if settings.layout.compile and ranks > 1 and name not in COMPILED_PARALLEL:
        raise ConfigError(
            f"parallel={name}: layout.compile=true can't exchange tokens yet; possible: {', '.join(COMPILED_PARALLEL)}"
        )


def _check_heads(config: WanConfig) -> None:
    if config.dim % config.num_heads or config.head_dim % 2:
        raise ConfigError(
            f"model.sizes.num_heads={config.num_heads}: must share model.sizes.dim={config.dim} in even parts"
        )


def _check_widths(settings: Settings) -> None:
    widths = settings.stage0.widths
    if len(widths) != VAE_LEVELS:
        raise ConfigError(f"stage0.widths={list(widths)}: needs {VAE_LEVELS} numbers, one for each resolution")


def check_cache(settings: Settings, config: WanConfig) -> None:
    """Raise ConfigError for a cache that the window or the context can't have."""
    cache, context = settings.cache, settings.context
    if cache.name not in CACHE_RULES:
        raise ConfigError(f"cache={cache.name}: not an option; choices: {', '.join(CACHE_RULES)}")
    if cache.name == RING:
        return
    if context.name != CLEAN_PASS:
        raise ConfigError(f"context={context.name}: cache={cache.name} needs clean history; possible: {CLEAN_PASS}")
    if problem := CACHE_RULES[cache.name](config, cache.bank):
        raise ConfigError(f"cache={cache.name}: {problem}")
    if cache.bank and context.rope == "relative":
        raise ConfigError(f"context.rope=relative: cache={cache.name} keeps frames at their place; possible: absolute")


def _check_deadlines(settings: Settings) -> None:
    answer, message = settings.deadlines.answer, settings.deadlines.message
    if answer > message:
        raise ConfigError(f"deadlines.answer={answer:g}: must not be longer than deadlines.message={message:g}")


def _check_bench_ends(settings: Settings) -> None:
    if settings.run.name == "bench" and settings.run.chunks is None:
        raise ConfigError("run.chunks=null: a bench needs a number of chunks")


def _check_resume(settings: Settings) -> None:
    if settings.run.resume != "never" and settings.run.name != "serve":
        line = f"run.resume={settings.run.resume}: run={settings.run.name} continues no show; possible: never"
        raise ConfigError(line)


def _check_one_process(settings: Settings) -> None:
    layout = settings.layout
    if layout.backend == "none" and layout.mesh_ranks != 1:
        raise ConfigError(f"layout.mesh_ranks={layout.mesh_ranks}: layout={layout.name} is one process; possible: 1")


def _check_compiled(settings: Settings) -> None:
    layout = settings.layout
    has_fp8 = _machine_has_fp8 if settings.run.name == PLAN else _devices_have_fp8
    if layout.fp8 and not (layout.compile and has_fp8(settings)):
        raise ConfigError(
            "layout.fp8=true: only with layout.compile=true on a CUDA device of capability 8.9 or more; possible: false"
        )
    split_over_gpus = layout.mesh_ranks > 1 and any(name.startswith("cuda") for name in layout.devices[1:])
    if layout.compile and split_over_gpus and layout.backend == "gloo":
        raise ConfigError("layout.backend=gloo: compiled passes on several GPUs need NCCL; possible: nccl")


def _machine_has_fp8(settings: Settings) -> bool:
    """Whether the planned GPUs have 8-bit floats. Where no peak is given, what was measured there says so later."""
    on_gpus = all(name.startswith("cuda") for name in settings.layout.devices[1:])
    return on_gpus and (settings.machine.bf16_tflops is None or settings.machine.fp8_tflops is not None)


def _devices_have_fp8(settings: Settings) -> bool:
    devices = settings.layout.devices[1:]
    if not all(device.startswith("cuda") for device in devices):
        return False
    import torch

    return all(torch.cuda.get_device_capability(device) >= (8, 9) for device in devices)


def _devices_here() -> list[str]:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:  # torch, which takes seconds to import, would find no GPU either
        return ["cpu"]
    import torch

    return ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]


def _check_devices(settings: Settings) -> None:
    layout = settings.layout
    unknown = [name for name in re.findall(r"\{[^}]*\}?|\}", layout.mesh_device) if name not in (RANK, INDEX)]
    if unknown:
        raise ConfigError(
            f"layout.mesh_device={layout.mesh_device}: {unknown[0]} is not a placeholder; possible: {RANK}, {INDEX}"
        )
    if settings.run.name == PLAN:  # it may be for another machine
        for name in layout.devices:
            if not DEVICE.fullmatch(name):
                raise ConfigError(f"layout.device={name}: possible: cpu, cuda, cuda:0, cuda:1 …")
        return
    here = ["cpu"] if set(layout.devices) == {"cpu"} else _devices_here()
    for rank, name in enumerate(layout.devices):
        if name not in here and not (name == "cuda" and len(here) > 1):
            key, value = ("mesh_device", layout.mesh_device) if rank else ("device", name)
            of_rank = f" for rank {rank}" if value != name else ""
            raise ConfigError(f"layout.{key}={value}: no such device here{of_rank}; choices: {', '.join(here)}")


def _several_hosts(environment: tuple[str, ...]) -> bool:
    """Whether NCCL sees each rank as a host: it refuses two ranks of one host on one GPU."""
    return any(re.fullmatch(r"NCCL_HOSTID=.*\{rank\}.*", variable) for variable in environment)


def _check_backend(settings: Settings) -> None:
    layout, own = settings.layout, settings.layout.devices[1:]
    if layout.backend == "none" and layout.mesh_device != layout.device:
        raise ConfigError(
            f"layout.mesh_device={layout.mesh_device}: layout={layout.name} is one process; possible: {layout.device}"
        )
    if layout.backend == "nccl" and not all(name.startswith("cuda") for name in own):
        raise ConfigError(f"layout.backend=nccl: not for layout.mesh_device={layout.mesh_device}; possible: gloo")
    if layout.backend == "nccl" and len(set(own)) < len(own) and not _several_hosts(layout.environment):
        raise ConfigError(
            f"layout.mesh_device={layout.mesh_device}: several ranks on one device; possible with layout=gpu_shared"
        )
    for variable in layout.environment:
        if not re.fullmatch(r"(TORCH_)?(NCCL|GLOO)_[A-Z0-9_]+=.*", variable):
            raise ConfigError(f"layout.environment={variable}: possible: NAME=value of NCCL_…, TORCH_NCCL_… or GLOO_…")


def _check_classes(settings: Settings) -> None:
    """Refuse a class from a module that is not allowed. Imports nothing."""
    allowed = settings.plugins.allow
    for module in allowed:
        if not MODULE.fullmatch(module):
            raise ConfigError(f"plugins.allow={list(allowed)}: {module!r} is no package; such as: my_package")
    groups = {name: getattr(settings, name) for name in settings.__struct_fields__}
    for group, chosen in groups.items():
        if not isinstance(chosen, ClassSettings) or chosen.class_path is None:
            continue
        if not CLASS.fullmatch(chosen.class_path):
            raise ConfigError(f"{group}.class={chosen.class_path}: expected package.module:Class")
        if not any(chosen.class_path.startswith((f"{module}.", f"{module}:")) for module in (PLUGIN_API, *allowed)):
            package = re.split("[.:]", chosen.class_path)[0]
            raise ConfigError(f"{group}.class={chosen.class_path}: not allowed; to allow it: plugins.allow=[{package}]")


def check_options(settings: Settings, known: Mapping[str, Collection[str]]) -> None:
    """Raise ConfigError for an option that stands for nothing. known: those built in or of a plug-in, by group."""
    for group, names in known.items():
        name = getattr(settings, group).name
        if name not in names:
            raise ConfigError(f"{group}={name}: neither built in nor a plug-in's; choices: {', '.join(sorted(names))}")


def validate(settings: Settings) -> WanConfig:
    """Check all rules but those of the chosen classes; return the generator's sizes. Raises ConfigError."""
    _check_classes(settings)
    config = generator_config(settings.model)
    check_size("stream.height", settings.stream.height)
    check_size("stream.width", settings.stream.width)
    _check_heads(config)
    check_window(config)
    _check_parallel(settings, config)
    _check_widths(settings)
    check_steps(settings.model)
    check_cache(settings, config)
    check_source(settings.source, config)
    _check_deadlines(settings)
    _check_bench_ends(settings)
    _check_resume(settings)
    _check_one_process(settings)
    _check_devices(settings)
    _check_backend(settings)
    _check_compiled(settings)
    return config
