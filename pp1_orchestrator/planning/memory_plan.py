"""Which rank holds what, the most that it has in use, and whether that fits the machine."""

from collections import defaultdict

import msgspec
import torch

from pp1_orchestrator.config.schema import LayoutSettings, Settings
from pp1_orchestrator.loading.sources import text_device
from pp1_orchestrator.planning.calibrate import Machine
from pp1_orchestrator.planning.profile import ModelProfile
from pp1_orchestrator.planning.strategy_traits import Strategies

STAGE0 = ("vae", "vae_encoder", "decode_cache", "input_encoder", "encode_cache")
MESH = ("generator", "kv_cache", "text_cache")
TEXT = ("text_encoder",)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One rank. memory: bytes by component. peak: the most bytes in use, None for a mesh in rank 0's process."""

    role: str
    device: str
    memory: dict[str, int]
    peak: int | None = None


class DeviceNeed(msgspec.Struct, frozen=True, kw_only=True):
    """One device. needed: the peaks of its ranks, and a GPU's context for each process. room: what the ranks may use
    of it; 0 where the machine has no such device."""

    device: str
    ranks: list[int]
    needed: int
    room: int

    @property
    def spare(self) -> int:
        """Below 0 where it does not fit."""
        return self.room - self.needed


def peaks(settings: Settings, profile: ModelProfile, strategies: Strategies, text_on_rank0: bool) -> dict[int, int]:
    """The most bytes that each rank has in use on its device. A mesh in rank 0's process is part of rank 0's peak.

    Rank 0 encodes prompts beside all its other work, the leader before a pass. Loading is left out: it ends before
    there are caches. So are the libraries' own memory and an allocator's fragmentation.
    """
    with_text = {rank: _shares_text_device(settings, rank) for rank in range(settings.layout.mesh_ranks + 1)}
    held = {
        rank: sum(profile.components.get(name, 0) for name in names if with_text[rank] or name not in TEXT)
        for rank, names in _components(settings, text_on_rank0).items()
    }
    text, decode = profile.activation_peak["text"], profile.activation_peak["decode"]
    beside = text if text_on_rank0 and with_text[0] else 0
    mesh = {rank: profile.activation_peak["generator"] for rank in held if rank}
    if not text_on_rank0 and with_text[1]:
        mesh[1] = max(mesh[1], text)
    if settings.layout.backend == "none":
        both = decode + mesh[1] if strategies.overlap(settings).threaded else max(decode, mesh[1])
        return {0: sum(held.values()) + both + beside}
    return {rank: held[rank] + mesh.get(rank, decode + beside) for rank in held}


def _components(settings: Settings, text_on_rank0: bool) -> dict[int, tuple[str, ...]]:
    """Names of the components that each rank holds."""
    followers = dict.fromkeys(range(2, settings.layout.mesh_ranks + 1), MESH)
    return {0: STAGE0 + TEXT if text_on_rank0 else STAGE0, 1: MESH if text_on_rank0 else MESH + TEXT, **followers}


def _shares_text_device(settings: Settings, rank: int) -> bool:
    """Whether a text encoder of this rank would be on the same device as its other models."""
    device = torch.device(settings.layout.device_of(rank))
    return text_device(settings, device) == device


def placements(settings: Settings, profile: ModelProfile, strategies: Strategies) -> dict[str, Placement]:
    """By rank, as a text."""
    on_rank0 = strategies.routing(settings).home == "rank0"
    peak = peaks(settings, profile, strategies, on_rank0)
    roles = {0: "stage 0", 1: "leader"}
    return {
        str(rank): Placement(
            role=roles.get(rank, "follower"),
            device=settings.layout.device_of(rank),
            memory={name: profile.components[name] for name in names if name in profile.components},
            peak=peak.get(rank),
        )
        for rank, names in _components(settings, on_rank0).items()
    }


def device_needs(
    settings: Settings, profile: ModelProfile, strategies: Strategies, machine: Machine
) -> list[DeviceNeed]:
    """Of every device, in the order of the ranks."""
    layout, on_rank0 = settings.layout, strategies.routing(settings).home == "rank0"
    ranks: dict[str, list[int]] = defaultdict(list)
    needed: dict[str, int] = defaultdict(int)
    for rank, peak in peaks(settings, profile, strategies, on_rank0).items():
        name = layout.device_of(rank)
        ranks[name].append(rank)
        needed[name] += peak + (machine.context_bytes if name.startswith("cuda") else 0)

    def room(name: str) -> int:
        if name.startswith("cuda") and machine.gpus is not None and gpu_index(name) >= machine.gpus:
            return 0
        alone = name.startswith("cuda") and len(ranks[name]) == 1
        return int(machine.memory_bytes * (layout.memory_share if alone else 1.0))

    return [DeviceNeed(device=name, ranks=ranks[name], needed=needed[name], room=room(name)) for name in needed]


def gpu_index(name: str) -> int:
    """The number of a GPU; `cuda` alone is the first."""
    return torch.device(name).index or 0


def shares_gpu(layout: LayoutSettings) -> bool:
    """Whether rank 0 is on the GPU of a mesh rank: it does one's work at a time, and each waits for the other."""
    stage0, *mesh = layout.devices
    return stage0.startswith("cuda") and stage0 in mesh
