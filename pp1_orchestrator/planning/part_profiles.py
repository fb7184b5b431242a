"""A run's models on the meta device, part by part: what each holds, what it computes for a chunk, and in what memory.

No weight file is opened. Knows settings and modules. Knows nothing of a machine's speed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import torch
from torch import Tensor, nn

from pp1_orchestrator.config.schema import Settings
from pp1_orchestrator.errors import ConfigError
from pp1_orchestrator.loading.cache_policy import make_cache_policy
from pp1_orchestrator.loading.parallelism import make_parallel_plan
from pp1_orchestrator.loading.sources import text_source, vae_source
from pp1_orchestrator.models.text.load_text_encoder import make_umt5
from pp1_orchestrator.models.vae.base import DecodeState, EncodeState
from pp1_orchestrator.models.vae.load_vae import VaeLoader, VaeParts
from pp1_orchestrator.models.vae.pixel_format import PixelFormat, pixel_format_for
from pp1_orchestrator.models.wan.compiled import fuse_block
from pp1_orchestrator.models.wan.config import WanConfig
from pp1_orchestrator.models.wan.fp8 import quantize_block
from pp1_orchestrator.models.wan.kv_cache import KVCache
from pp1_orchestrator.models.wan.model import CausalWanModel
from pp1_orchestrator.models.wan.ops.norms import TritonOps
from pp1_orchestrator.models.wan.ops.split_kv_attention import HALF_TYPES, cudnn
from pp1_orchestrator.models.wan.rope import rope_cos_sin, rope_table
from pp1_orchestrator.planning.inputs_outputs import Requirements
from pp1_orchestrator.planning.memory_tracker import MemoryTracker
from pp1_orchestrator.planning.op_counter import CountingShard, OpCounts, counting
from pp1_orchestrator.planning.strategy_traits import Strategies

if TYPE_CHECKING:
    from transformers.models.umt5 import UMT5EncoderModel

META = torch.device("meta")
MAX_COUNTED_LAYERS = 3
"""A first and a last block differ from those between, which are alike: a deep model is two shallow ones, continued."""
Part = Literal["generator", "context", "decode", "encode", "text"]


@dataclass(frozen=True, slots=True)
class PartProfile:
    """components, work: see `ModelProfile`. peaks: the most bytes beyond the components, by what is done."""

    components: dict[str, int]
    work: dict[Part, OpCounts]
    peaks: dict[str, int]

    def continued(self, other: "PartProfile", steps: int) -> "PartProfile":
        """The profile `steps` times as far away as `other`, in the same direction."""

        def further(start: dict[str, int], end: dict[str, int]) -> dict[str, int]:
            return {name: first + steps * (end[name] - first) for name, first in start.items()}

        work: dict[Part, OpCounts] = {
            part: counts.continued(other.work[part], steps) for part, counts in self.work.items()
        }
        return PartProfile(further(self.components, other.components), work, further(self.peaks, other.peaks))


def _by_layers(count: Callable[[int], PartProfile], layers: int) -> PartProfile:
    if layers <= MAX_COUNTED_LAYERS:
        return count(layers)
    fewer, more = count(MAX_COUNTED_LAYERS - 1), count(MAX_COUNTED_LAYERS)
    return fewer.continued(more, layers - MAX_COUNTED_LAYERS + 1)


def dtype_of(settings: Settings) -> torch.dtype:
    return getattr(torch, settings.model.dtype)


def is_fused(settings: Settings) -> bool:
    """Whether compiled passes run on a GPU, where this package's kernels do what lies between products."""
    return settings.layout.compile and settings.layout.devices[1].startswith("cuda")


def profile_mesh(settings: Settings, config: WanConfig, needs: Requirements) -> PartProfile:
    """One rank's part of the generator: a denoising pass and one that only writes keys and values."""

    def count(layers: int) -> PartProfile:
        return _count_generator(settings, msgspec.structs.replace(config, num_layers=layers), needs)

    return _by_layers(count, config.num_layers)


def _count_generator(settings: Settings, config: WanConfig, needs: Requirements) -> PartProfile:
    shard = CountingShard(settings.layout.mesh_ranks)
    dtype, frames = dtype_of(settings), needs.chunk_latent_frames
    height, width = needs.latents[-2:]
    cache = KVCache(
        config,
        (height, width),
        degree=shard.degree,
        relative=settings.context.rope == "relative",
        policy=(policy := make_cache_policy(settings.cache)),
        dtype=dtype,
        device=META,
    )
    with META:
        model = CausalWanModel(config).to(dtype).eval().requires_grad_(False)
        plan = make_parallel_plan(settings)
        runner = plan.runner(plan.parallelize(model, shard), cache, shard)
        embeds, latents = (torch.zeros(shape, dtype=dtype) for shape in (needs.text, needs.latents))
        latents = runner.split(latents)
        time = torch.zeros(1)
        table = rope_table(config.head_dim, 0, frames, height // 2, width // 2, META)
        rope = rope_cos_sin(table) if is_fused(settings) else runner.convert_rope(table)
        if is_fused(settings):
            _fuse(model, cache, settings)
    memory = MemoryTracker()
    with torch.inference_mode(), memory:
        text = model.embed_text(embeds)
        text = model.embed_text(embeds)  # the old prompt's are freed once the new one's exist
    text_peak, memory.peak = memory.peak, memory.current
    cache.begin(needs.window_latent_frames - frames)
    policy.filled = policy.bank_frames
    work: dict[Part, OpCounts] = {}
    passes: dict[Part, Callable[..., Any]] = {"generator": model.forward, "context": model.write_history}
    for part, run in passes.items():
        shard.reset()
        with counting(memory, fused=is_fused(settings)) as counts:
            run(latents, time, text, cache, rope)
        counts.reductions, counts.reduction_bytes = shard.reductions, shard.nbytes
        counts.exchanges, counts.exchange_bytes = shard.exchanges, shard.exchange_bytes
        work[part] = counts
    text_cache = sum(t.nbytes for pair in text for t in pair)
    held = weight_bytes(model) + sum(t.nbytes for t in model.buffers())  # those in 8 bits are buffers
    components = {"generator": held, "kv_cache": cache.nbytes, "text_cache": text_cache}
    peaks = {"pass": memory.peak - text_cache, "text": text_peak - text_cache}
    return PartProfile(components, work, peaks)


def _history_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """By one of the kernels that take its place in captured passes."""
    return cudnn(q, k, v)[0].transpose(1, 2).flatten(2)


def _fuse(model: CausalWanModel, cache: KVCache, settings: Settings) -> None:
    """As `CudaGraphRunner` does it: fused blocks, and a kernel of its own for attention to the history."""
    for block in model.block_list():
        fuse_block(block, TritonOps())
        if settings.layout.fp8:
            quantize_block(block)
    if dtype_of(settings) in HALF_TYPES:
        cache.attention = _history_attention


def profile_vae(settings: Settings, strategies: Strategies, needs: Requirements) -> PartProfile:
    """Rank 0's decoder, and the frame encoder where the context needs one."""
    memory, state = MemoryTracker(), DecodeState()
    parts = vae(settings, strategies.decoder(settings), strategies.context(settings).needs_pixels)
    latents = torch.zeros(needs.latents[1:], device=META)
    to_frames = pixel_format_for(torch.device(settings.layout.device))
    with counting(memory):
        _decode(parts, to_frames, latents, state)  # a stream's first chunk, which fills the decoder's cache
        _decode(parts, to_frames, latents, state)
    components = {"vae": parts.decoder.weight_bytes, "decode_cache": state.nbytes}
    compiled = settings.layout.compile and settings.layout.device.startswith("cuda")
    work: dict[Part, OpCounts] = {}
    with counting(fused=compiled) as work["decode"]:
        parts.decoder.decode(latents, state)
    peak = memory.peak - state.nbytes
    if compiled:  # a compiled decoder keeps the frames of one convolution longer: measured at two sizes
        peak += _widest_frames(state, needs)
    if parts.frame_encoder is not None:
        components["vae_encoder"] = parts.frame_encoder.weight_bytes
        with counting() as work["encode"]:
            parts.frame_encoder.encode(torch.zeros((3, needs.height, needs.width), device=META))
    peaks = {"decode": peak}
    if settings.source.active:
        further, peaks["encode_input"] = _profile_input(settings, strategies.decoder(settings), needs)
        components |= further
    return PartProfile(components, work, peaks)


def _profile_input(settings: Settings, loader: VaeLoader, needs: Requirements) -> tuple[dict[str, int], int]:
    """The components of an input's encoder, and its peak beside them. Raises ConfigError where there is none."""
    try:
        encoder = loader.load_encoder(replace(vae_source(settings), seed=0), META, dtype_of(settings))
    except (OSError, ValueError) as error:
        raise ConfigError(f"stage0={settings.stage0.name}: {error}") from error
    memory, state = MemoryTracker(), EncodeState()
    size = 3, needs.height, needs.width
    with counting(memory):
        for frames in (needs.first_chunk_pixel_frames, needs.chunk_pixel_frames, needs.chunk_pixel_frames):
            encoder.encode(torch.zeros((frames, *size), device=META), state)
    return {"input_encoder": encoder.weight_bytes, "encode_cache": state.nbytes}, memory.peak - state.nbytes


def profile_text(settings: Settings, needs: Requirements) -> PartProfile:
    """The text encoder, of one prompt."""
    text, memory = text_encoder(settings), MemoryTracker()
    with counting(memory) as work:
        text(input_ids=torch.zeros(needs.text[:2], dtype=torch.long, device=META))
    return PartProfile({"text_encoder": weight_bytes(text)}, {"text": work}, {"text": memory.peak})


def _decode(parts: VaeParts, to_frames: PixelFormat, latents: Tensor, state: DecodeState) -> None:
    """Decode a chunk as rank 0 does. Where an anchor is needed, the first frame is decoded and encoded first."""
    if parts.frame_encoder is None:
        to_frames(parts.decoder.decode(latents, state))
        return
    first = parts.decoder.decode(latents[:1], state)
    parts.frame_encoder.encode(first[-1])
    to_frames(torch.cat([first, parts.decoder.decode(latents[1:], state)]))


def _widest_frames(state: DecodeState, needs: Requirements) -> int:
    """Bytes of the last layer's input, with the frames that it keeps from before."""
    kept = max((t for t in state.entries if isinstance(t, Tensor)), key=lambda t: t[:1].nbytes)
    return kept.nbytes + needs.chunk_pixel_frames * kept[:1].nbytes


def vae(settings: Settings, loader: VaeLoader, frame_encoder: bool) -> VaeParts:
    """The run's decoder, and its frame encoder, without data. Raises ConfigError where it has none."""
    source = vae_source(settings)
    check_exists(settings, source.path)
    try:
        return loader.load(replace(source, seed=0), META, dtype_of(settings), frame_encoder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"stage0={settings.stage0.name}: {error}") from error


def text_encoder(settings: Settings) -> "UMT5EncoderModel":
    """The run's text encoder without data. Raises ConfigError where it has none."""
    source = text_source(settings)
    check_exists(settings, source.weights)
    return make_umt5(replace(source, seed=0), META, dtype_of(settings))


def check_exists(settings: Settings, where: Path) -> None:
    """A checkpoint that exists must have the part. One that does not exist yet can still be planned for."""
    model = settings.model
    if model.weights == "checkpoint" and model.folder.is_dir() and not where.exists():
        raise ConfigError(f"model.root={model.root}: {where}: no such file or folder")


def weight_bytes(module: nn.Module) -> int:
    """Bytes of a module's weights."""
    return sum(p.nbytes for p in module.parameters())
