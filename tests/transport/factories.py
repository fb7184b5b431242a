"""The one place in which these tests know what an envelope is made of."""

from collections.abc import Sequence

import torch

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV3
from pp1_orchestrator.contract.envelope import CONDITIONING, VAE_STRIDE, InferPlan


def first_chunk(shape: Sequence[int], embeds: torch.Tensor, steps: tuple[float, ...] = (1000.0, 500.0)) -> Envelope:
    """An INFER for a stream's first chunk. shape: [1, F, z, h, w] of its latents. embeds: [1, L, text_dim]."""
    one, frames, channels, height, width = shape
    plan = InferPlan(
        latents_shape=(one, frames, channels, height, width),
        chunk_index=0,
        height=VAE_STRIDE * height,
        width=VAE_STRIDE * width,
        current_start_frame=0,
        do_kv_recompute=False,
        clean_pass=True,
        denoising_steps=steps,
        expected_generator_calls=len(steps),
        init_cache=True,
        reset_kv_cache=True,
        reset_crossattn_cache=True,
        conditioning_epoch=0,
        base_seed=3,
    )
    meta = PPEnvelopeV3(action=Action.INFER, call_id=1, cache_epoch=0, plan=plan)
    return Envelope(meta, {CONDITIONING: embeds})
