"""Recognises how a checkpoint names the transformer's tensors, and renames them to ours, which are Wan2.1's.

Known: Wan2.1, diffusers, Self-Forcing and its followers, LongLive and its LoRA, Krea Realtime, StreamDiffusionV2, rCM,
LightX2V's files in 8 bits; also with the prefixes of FSDP, activation checkpointing and torch.compile. Knows names and
shapes; reads no tensor.
"""

import re
from collections.abc import Iterable, Iterator

from pp1_orchestrator.models.checkpoints.lora import LoraDelta, LoraMergedWeights
from pp1_orchestrator.models.checkpoints.reader import SECTION, RenamedWeights, Weights
from pp1_orchestrator.models.checkpoints.stored_forms import SCALES, ReshapedWeights, with_scales

AVERAGED, LAST = "generator_ema", "generator"
OTHER_SECTIONS = ("model", "state_dict")
PATCH, PATCH_PIXELS = "patch_embedding.weight", 4
LORA_SECTION = "generator_lora"
WRAPPERS = re.compile(r"_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.|_orig_mod\.")
OWNERS = re.compile(r"^(?:base_model\.|module\.|model\.|diffusion_model\.|net\.)+")
DIFFUSERS = "condition_embedder."
FROM_DIFFUSERS = (
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^proj_out\.", "head.head."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^(blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"^(blocks\.\d+)\.ffn\.net\.0\.proj\.", r"\1.ffn.0."),
    (r"^(blocks\.\d+)\.ffn\.net\.2\.", r"\1.ffn.2."),
    # diffusers numbers a block's norms in the order of their use; Wan's norm3 is the one before cross-attention.
    (r"^(blocks\.\d+)\.norm2\.", r"\1.norm3."),
    (r"^(blocks\.\d+)\.attn1\.", r"\1.self_attn."),
    (r"^(blocks\.\d+)\.attn2\.", r"\1.cross_attn."),
    (r"_attn\.to_out\.0\.", "_attn.o."),
    (r"_attn\.to_([qkv])\.", r"_attn.\1."),
)
LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<half>[AB])(?:\.default)?\.weight$")
DOWN, UP = "A", "B"


def in_our_names(weights: Weights, ema: bool) -> Weights:
    """The transformer in a file, under our names; names that are not known stay.

    ema: take the averaged weights if the file has both. Raises ValueError if two tensors get one name.
    """
    renamed = with_scales(_renamed(weights, section_of(weights.shapes(), ema)))
    patch = renamed.shapes().get(PATCH, ())
    if len(patch) != 2 or patch[1] % PATCH_PIXELS:
        return renamed
    # A linear layer over patches, as rCM has it, whose inputs run in the order of the convolution's.
    return ReshapedWeights(renamed, {PATCH: (patch[0], patch[1] // PATCH_PIXELS, 1, 2, 2)})


def with_lora(base: Weights, lora: Weights, alpha: float | None) -> Weights:
    """`base`, in our names, with a LoRA merged into it, scaled by alpha / rank, or by 1 if alpha is None.

    Raises ValueError for a tensor that belongs to no LoRA, and for a LoRA that does not fit its matrix.
    """
    shapes, changes = base.shapes(), dict(_changes(lora, alpha))
    if not changes:
        raise ValueError(f"{lora.path} holds no low-rank changes")
    for key, change in changes.items():
        if shapes.get(key) != change.shape:
            there = shapes.get(key, "no such matrix")
            raise ValueError(f"{lora.path} does not fit {base.path}: {change.up} changes {key} {there}")
    return LoraMergedWeights(base, changes)


def section_of(keys: Iterable[str], ema: bool) -> str:
    """The prefix of the section to read, with the separator; empty for a file without sections."""
    there = {key.partition(SECTION)[0] for key in keys if SECTION in key}
    first, second = (AVERAGED, LAST) if ema else (LAST, AVERAGED)
    return next((f"{name}{SECTION}" for name in (first, second, *OTHER_SECTIONS) if name in there), "")


def _renamed(weights: Weights, section: str) -> Weights:
    keys = [key.removeprefix(section) for key in weights.shapes() if key.startswith(section)]
    plain = [unwrapped(key) for key in keys]
    if any(name.startswith(DIFFUSERS) for name in plain):
        plain = [_from_diffusers(name) for name in plain]
    names: dict[str, str] = {}
    for name, key in zip(plain, keys, strict=True):
        if name in names:
            raise ValueError(f"{weights.path}: {key} and {names[name].removeprefix(section)} are both {name}")
        names[name] = section + key
    return RenamedWeights(weights, names)


def layout_of(keys: Iterable[str]) -> str:
    """Whose names the tensors of one section have, for people."""
    names = list(keys)
    whose = "diffusers'" if any(unwrapped(key).startswith(DIFFUSERS) for key in names) else "Wan2.1's"
    owners = {match[0] if (match := OWNERS.match(WRAPPERS.sub("", key))) else "" for key in names} - {""}
    whose += " names, in 8 bits with scales" if any(key.endswith(SCALES) for key in names) else " names"
    return whose + (f", with the prefix {', '.join(sorted(owners))}" if owners else "")


def unwrapped(key: str) -> str:
    """A tensor's name without the prefixes of what it was saved in."""
    return OWNERS.sub("", WRAPPERS.sub("", key))


def _from_diffusers(name: str) -> str:
    for pattern, ours in FROM_DIFFUSERS:
        name = re.sub(pattern, ours, name)
    return name


def _changes(lora: Weights, alpha: float | None) -> Iterator[tuple[str, LoraDelta]]:
    """The name of each matrix that the LoRA changes, and the change."""
    keys = lora.shapes()
    section = f"{LORA_SECTION}{SECTION}" if any(key.startswith(LORA_SECTION + SECTION) for key in keys) else ""
    halves: dict[str, dict[str, str]] = {}
    for key in keys:
        if not key.startswith(section):
            continue
        match = LORA.match(unwrapped(key.removeprefix(section)))
        if not match:
            raise ValueError(f"{lora.path} holds {key}, which is no half of a low-rank change")
        halves.setdefault(match["module"], {})[match["half"]] = key
    for module, both in halves.items():
        if both.keys() != {DOWN, UP}:
            raise ValueError(f"{lora.path} holds {next(iter(both.values()))} without its other half")
        for key in both.values():
            if len(keys[key]) != 2 or not all(keys[key]):
                raise ValueError(f"{lora.path} holds {key} {keys[key]}, which is no matrix")
        rank = keys[both[DOWN]][0]
        yield f"{module}.weight", LoraDelta(lora, both[UP], both[DOWN], 1.0 if alpha is None else alpha / rank)
