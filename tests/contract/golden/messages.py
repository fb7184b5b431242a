"""The messages of the golden files: whole ones, and ways to break them."""

import struct
from collections.abc import Callable

import torch

from pp1_orchestrator.contract import Action, Envelope, PPEnvelopeV3, PPResultV3, Result, wire
from pp1_orchestrator.contract.envelope import CAPTION, CONDITIONING, CONTEXT_FRAMES, INPUT_LATENTS, InferPlan, InputUse
from pp1_orchestrator.contract.result import LATENTS_OUT, TEXT_EMBEDS
from pp1_orchestrator.contract.text_recipe import TextRecipe, TextTerm

SHAPE = (1, 1, 2, 2, 2)
HEADER = struct.Struct(f"<{wire.HEADER_FIELDS}q")
MAGIC, KIND, VERSION, CALL_ID, META_BYTES, TENSOR_COUNT = range(wire.HEADER_FIELDS)


def counted(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """0, 0.5, 1 …: exact in every dtype."""
    return (torch.arange(torch.Size(shape).numel()) / 2).view(shape).to(dtype)


def plan(**changes) -> InferPlan:
    base = {
        "chunk_index": 7, "height": 16, "width": 16, "latents_shape": SHAPE, "current_start_frame": 0,
        "do_kv_recompute": False, "clean_pass": True, "denoising_steps": (1000.0, 500.0),
        "expected_generator_calls": 2, "init_cache": True, "reset_kv_cache": True, "reset_crossattn_cache": True,
        "conditioning_epoch": 3, "base_seed": 42,
    }  # fmt: skip
    return InferPlan(**base | changes)


def envelope(action: Action, its_plan: InferPlan | None = None, **tensors: torch.Tensor) -> Envelope:
    return Envelope(PPEnvelopeV3(action=action, call_id=11, cache_epoch=2, plan=its_plan), tensors)


def result(ok: bool, **tensors: torch.Tensor) -> Result:
    text = "" if ok else "rank 2: no memory left — «sorry»"
    meta = PPResultV3(
        call_id=11, chunk_index=7, cache_epoch=2, ok=ok, error_message=text, observed_generator_calls=2,
        mesh_current_start_frame=1, denoise_ms=12.5, context_ms=3.25, mesh_idle_ms=0.5, text_ms=1.75,
    )  # fmt: skip
    return Result(meta, tensors)


KEPT = {"init_cache": False, "reset_kv_cache": False, "current_start_frame": 2}
BLEND = TextRecipe(
    terms=(TextTerm("a red circle"), TextTerm("ein grüner Würfel", 0.25)),
    blend="slerp", source_epoch=2, fraction=0.75, method="slerp",
)  # fmt: skip
REBUILT = plan(
    **KEPT, do_kv_recompute=True, expected_generator_calls=4, reset_crossattn_cache=False, kv_cache_attention_bias=0.5
)
FROM_INPUT = plan(
    **KEPT, do_kv_recompute=True, expected_generator_calls=4, reset_crossattn_cache=False,
    input=InputUse(noise_level=0.75, history=True),
)  # fmt: skip
INFER = Action.INFER

WHOLE: dict[str, Callable[[], wire.EncodedMessage]] = {
    "v3-noop": lambda: wire.pack_envelope(envelope(Action.NOOP)),
    "v3-shutdown": lambda: wire.pack_envelope(envelope(Action.SHUTDOWN)),
    "v3-first": lambda: wire.pack_envelope(
        envelope(INFER, plan(), **{CONDITIONING: counted(1, 2, 3, dtype=torch.bfloat16)})
    ),
    "v3-blend": lambda: wire.pack_envelope(envelope(INFER, plan(recipe=BLEND, return_embeds=True))),
    "v3-caption": lambda: wire.pack_envelope(envelope(INFER, plan(recipe=BLEND, caption="ein rotes Quadrat"))),
    "v3-captioned": lambda: wire.pack_envelope(
        envelope(INFER, plan(), **{CONDITIONING: counted(1, 2, 3), CAPTION: counted(1, 2, 3, dtype=torch.bfloat16)})
    ),
    "v3-steady": lambda: wire.pack_envelope(envelope(INFER, plan(**KEPT, reset_crossattn_cache=False))),
    "v3-rebuilt": lambda: wire.pack_envelope(
        envelope(INFER, REBUILT, **{CONTEXT_FRAMES: counted(1, 2, *SHAPE[2:], dtype=torch.float16)})
    ),
    "v3-input": lambda: wire.pack_envelope(
        envelope(INFER, FROM_INPUT, **{INPUT_LATENTS: counted(*SHAPE), CONTEXT_FRAMES: counted(1, 2, *SHAPE[2:])})
    ),
    "v3-result": lambda: wire.pack_result(
        result(True, **{LATENTS_OUT: counted(*SHAPE), TEXT_EMBEDS: counted(2, 2, 3)})
    ),
    "v3-failed": lambda: wire.pack_result(result(False)),
}


def as_bytes(message: wire.EncodedMessage) -> bytes:
    """A message as it travels."""
    return b"".join(part.contiguous().view(torch.uint8).numpy().tobytes() for part in message.parts)


def with_header(data: bytes, field: int, value: int) -> bytes:
    fields = list(HEADER.unpack_from(data))
    fields[field] = value
    return HEADER.pack(*fields) + data[HEADER.size :]


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """With something else of the same length in its metadata."""
    assert data.count(old) == 1
    assert len(old) == len(new)
    return data.replace(old, new)


def _broken() -> dict[str, tuple[bytes, str]]:
    """By name: a message that must be refused, and the words of the refusal."""
    whole = {name: as_bytes(make()) for name, make in WHOLE.items()}
    noop, first, blend, good = whole["v3-noop"], whole["v3-first"], whole["v3-blend"], whole["v3-result"]
    size = HEADER.unpack_from(first)[META_BYTES]
    return {
        "magic": (with_header(noop, MAGIC, 7), "not a message of this contract (magic 0x7, kind 1)"),
        "kind": (with_header(noop, KIND, 3), "not a message of this contract (magic 0x50503157495245, kind 3)"),
        "version": (with_header(noop, VERSION, 4), "envelope version 4 is unknown; this side speaks 3"),
        "old-version": (with_header(good, VERSION, 2), "result version 2 is unknown; this side speaks 3"),
        "much-metadata": (
            with_header(noop, META_BYTES, 2**62),
            "call 11: header announces 4611686018427387904 bytes of metadata, 0 tensors",
        ),
        "many-tensors": (
            with_header(first, TENSOR_COUNT, 9), f"call 11: header announces {size} bytes of metadata, 9 tensors",
        ),
        "fewer-tensors": (with_header(first, TENSOR_COUNT, 0), "call 11: 1 tensors described, 0 announced"),
        "other-call": (
            with_header(first, CALL_ID, 12),
            "call 12: version and call are 3, 12 in the header, 3, 11 in the metadata",
        ),
        "dtype": (
            replaced(first, b"\xa4bf16", b"\xa4bf61"), "call 11: conditioning_embeds announced as bf61 [1, 2, 3]",
        ),
        "unknown-tensor": (
            replaced(good, b"text_embeds", b"next_embeds"), "call 11: unknown tensors ['next_embeds']",
        ),
        "twice": (replaced(good, b"text_embeds", b"latents_out"), "call 11: a tensor is described twice"),
        "blend-method": (
            replaced(blend, b"\xa5blend\xa5slerp", b"\xa5blend\xa5sperl"),
            "call 11: unreadable metadata: Invalid enum value 'sperl' - at `$.plan.recipe.blend`",
        ),
        "no-utf8": (
            replaced(blend, b"slerp\xacsource", b"sl\xffrp\xacsource"),
            "call 11: unreadable metadata: 'utf-8' codec can't decode byte 0xff in position 2: invalid start byte",
        ),
        "no-msgpack": (
            noop[: HEADER.size] + b"\xc1" * (len(noop) - HEADER.size),
            "call 11: unreadable metadata: MessagePack data is malformed: invalid opcode '\\xc1' (byte 0)",
        ),
    }  # fmt: skip


BROKEN = _broken()
