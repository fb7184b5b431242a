"""The envelope: what rank 0 asks of the mesh. The planner decides everything in it; the mesh infers nothing.

Noise is not sent: the mesh draws it from the seed and the start frame. `check` holds the rules that types can't
express. The sender runs it before the first byte, the leader before the first collective.
Shapes: F latent frames, z latent channels, h and w latent height and width, L text tokens.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from pp1_orchestrator.contract.text_recipe import TextRecipe, recipe_problems
from pp1_orchestrator.errors import ContractError
from pp1_orchestrator.types import MAX_PROMPT_CHARS

if TYPE_CHECKING:  # the rules of sizes are checked before torch is imported, which takes seconds
    from torch import Tensor

VERSION = 3
"""The contract version of this program. Envelope and result share it."""
SIZE_MULTIPLE = 16
"""Height and width in pixels are multiples of this: the VAE's stride times the patch size."""
VAE_STRIDE = 8
VAE_TEMPORAL_STRIDE = 4
"""Pixel frames of a latent frame. An epoch's first latent frame gives a single one."""

CONDITIONING = "conditioning_embeds"
CONTEXT_FRAMES = "context_frames"
INPUT_LATENTS = "input_latents"
CAPTION = "caption_embeds"
TENSORS = frozenset({CONDITIONING, CONTEXT_FRAMES, INPUT_LATENTS, CAPTION})


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Pixels to latents: (height, width) of a latent frame."""
    return height // VAE_STRIDE, width // VAE_STRIDE


def pixel_frames(latent_frames: int, first: bool) -> int:
    """Pixel frames that a chunk decodes to. first: it begins an epoch."""
    return VAE_TEMPORAL_STRIDE * latent_frames - (VAE_TEMPORAL_STRIDE - 1 if first else 0)


RecacheMask = Literal["causal", "bidirectional"]
"""What each chunk of history sees when it is read again: the chunks up to it, or all of them."""


class Action(enum.IntEnum):
    """Only INFER has a payload. NOOP is a heartbeat: it keeps the watchdogs of an idle mesh quiet."""

    NOOP = 0
    INFER = 1
    SHUTDOWN = 2


class InputUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk's input latents are for.

    noise_level: share of the noise in what denoising starts from, 0…1; with 1 it starts from noise alone. history: the
    context pass writes the input's latents in place of the chunk's own.
    """

    noise_level: float
    history: bool = False


class InferPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one chunk.

    height, width: of a pixel frame. latents_shape: [1, F, z, h, w].
    expected_generator_calls: the generator's passes between the previous result and this one: the context pass of the
    previous chunk if there is one, the passes that rebuild the cache, and the denoising steps.
    conditioning_epoch: +1 with every change of the embedding, which is sent only then.
    recipe: replaces the embedding; the leader makes it. return_embeds: the result carries the embedding of every
    prompt of the recipe.
    init_cache: the chunk is the first one of an epoch that is decoded; before it are at most the context's frames.
    input: of a chunk that starts from an input, or whose history an input is.
    caption: under this text, or under caption_embeds, an input becomes history for the rest of the epoch. Comes with
    its first chunk, and may be empty. The leader makes the embedding.
    recache: the context frames are the stream's newest latents, read again under new conditioning: the sink's frames
    stay as they are unless the context begins at frame 0. Says which of the frames each of them sees.
    """

    chunk_index: int
    height: int
    width: int
    current_start_frame: int
    do_kv_recompute: bool
    clean_pass: bool
    denoising_steps: tuple[float, ...]
    expected_generator_calls: int
    init_cache: bool
    reset_kv_cache: bool
    reset_crossattn_cache: bool
    conditioning_epoch: int
    base_seed: int
    kv_cache_attention_bias: float = 1.0
    latents_shape: tuple[int, int, int, int, int]
    recipe: TextRecipe | None = None
    return_embeds: bool = False
    recache: RecacheMask | msgspec.UnsetType = msgspec.UNSET
    input: InputUse | msgspec.UnsetType = msgspec.UNSET
    caption: str | msgspec.UnsetType = msgspec.UNSET


class PPEnvelopeV3(msgspec.Struct, frozen=True, kw_only=True):
    """call_id rises with every message; cache_epoch rises by one exactly when the caches are reset."""

    action: Action
    call_id: int
    cache_epoch: int
    plan: InferPlan | None = None
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope with its tensors.

    conditioning_embeds: [1, L, text_dim], only when the conditioning changed. context_frames: [1, m, z, h, w], exactly
    when do_kv_recompute is set. input_latents: [1, F, z, h, w], exactly when the plan has an input.
    caption_embeds: [1, L, text_dim], in place of the plan's caption.
    """

    meta: PPEnvelopeV3
    tensors: Mapping[str, Tensor] = field(default_factory=dict[str, "Tensor"])

    @property
    def plan(self) -> InferPlan:
        """The plan of an INFER."""
        assert self.meta.plan is not None
        return self.meta.plan


def _plan_problems(plan: InferPlan, tensors: Mapping[str, Tensor]) -> list[str]:
    problems = _size_problems(plan) + _call_problems(plan, tensors) + _input_problems(plan, tensors)
    if (plan.recipe is not None) + (CONDITIONING in tensors) != plan.reset_crossattn_cache:
        problems.append(f"{CONDITIONING} or a recipe must be present exactly when reset_crossattn_cache is set")
    if plan.recipe is not None:
        problems += recipe_problems(plan.recipe)
    elif plan.return_embeds:
        problems.append("return_embeds needs a recipe")
    context = tensors.get(CONTEXT_FRAMES)
    first_frame = 0 if context is None or context.dim() != 5 else context.shape[1]
    if plan.init_cache and not (plan.reset_kv_cache and plan.current_start_frame == first_frame):
        problems.append(f"init_cache needs reset_kv_cache and current_start_frame {first_frame}")
    if not 0 < plan.kv_cache_attention_bias <= 1:
        problems.append(f"kv_cache_attention_bias is {plan.kv_cache_attention_bias}; it lies in (0, 1]")
    return problems


def _input_problems(plan: InferPlan, tensors: Mapping[str, Tensor]) -> list[str]:
    problems: list[str] = []
    latents, use = tensors.get(INPUT_LATENTS), plan.input
    if isinstance(use, msgspec.UnsetType) != (latents is None):
        problems.append(f"{INPUT_LATENTS} must be present exactly when input is set")
    if latents is not None and tuple(latents.shape) != plan.latents_shape:
        problems.append(f"{INPUT_LATENTS} {list(latents.shape)} are not of latents_shape {list(plan.latents_shape)}")
    if not isinstance(use, msgspec.UnsetType) and not 0 <= use.noise_level <= 1:
        problems.append(f"input.noise_level is {use.noise_level}; it lies in [0, 1]")
    texts = (not isinstance(plan.caption, msgspec.UnsetType)) + (CAPTION in tensors)
    if texts > 1 or (texts and not plan.reset_kv_cache):
        problems.append(f"caption or {CAPTION}, not both, needs reset_kv_cache")
    if not isinstance(plan.caption, msgspec.UnsetType) and len(plan.caption) > MAX_PROMPT_CHARS:
        problems.append(f"caption has {len(plan.caption)} characters; at most {MAX_PROMPT_CHARS} are taken")
    return problems


def _size_problems(plan: InferPlan) -> list[str]:
    problems: list[str] = []
    if plan.height % SIZE_MULTIPLE or plan.width % SIZE_MULTIPLE:
        problems.append(f"size {plan.height}×{plan.width} is not a multiple of {SIZE_MULTIPLE}")
    size = latent_size(plan.height, plan.width)
    if plan.latents_shape[-2:] != size or min(plan.latents_shape) < 1:
        problems.append(f"latents_shape must be [1, F, z, {size[0]}, {size[1]}], not {list(plan.latents_shape)}")
    return problems


def _call_problems(plan: InferPlan, tensors: Mapping[str, Tensor]) -> list[str]:
    problems: list[str] = []
    context, frames = tensors.get(CONTEXT_FRAMES), plan.latents_shape[1]
    if plan.do_kv_recompute != (context is not None):
        problems.append(f"{CONTEXT_FRAMES} must be present exactly when do_kv_recompute is set")
    passes = 0
    if context is not None:
        passes = context.shape[1] // frames if context.dim() == 5 else 0
        shape = (1, passes * frames, *plan.latents_shape[2:])
        if not passes or tuple(context.shape) != shape or context.shape[1] > plan.current_start_frame:
            problems.append(f"{CONTEXT_FRAMES} {list(context.shape)} are not whole chunks of earlier frames")
    if context is None and plan.recache is not msgspec.UNSET:
        problems.append(f"recache needs {CONTEXT_FRAMES}")
    if not plan.denoising_steps:
        problems.append("denoising_steps is empty")
    minimum = len(plan.denoising_steps) + passes
    if not minimum <= plan.expected_generator_calls <= minimum + 1:
        problems.append(
            f"expected_generator_calls is {plan.expected_generator_calls}, the steps make {minimum} or one more"
        )
    return problems


def check(envelope: Envelope) -> None:
    """Raise ContractError if the envelope breaks a rule. Reads no device memory."""
    meta, tensors = envelope.meta, envelope.tensors
    if unknown := set(tensors) - TENSORS:
        raise ContractError(f"call {meta.call_id}: unknown tensors {sorted(unknown)}")
    if meta.action is not Action.INFER:
        if meta.plan is not None or tensors:
            raise ContractError(f"call {meta.call_id}: {meta.action.name} carries a payload")
        return
    if meta.plan is None:
        raise ContractError(f"call {meta.call_id}: INFER carries no plan")
    if problems := _plan_problems(meta.plan, tensors):
        raise ContractError(f"call {meta.call_id}, chunk {meta.plan.chunk_index}: {'; '.join(problems)}")
