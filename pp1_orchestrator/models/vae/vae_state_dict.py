"""Names of the Wan VAE's tensors: those of `Wan2.1_VAE.pth`, which lightvae shares, and those of diffusers, ours.

Knows names only; which of them a part of the VAE needs, and in what shape, is others' to know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_RESIDUAL = {"residual.0.": "norm1.", "residual.2.": "conv1.", "residual.3.": "norm2.", "residual.6.": "conv2."}
_PLAIN = {
    "conv1.": "quant_conv.",
    "conv2.": "post_quant_conv.",
    "encoder.conv1.": "encoder.conv_in.",
    "decoder.conv1.": "decoder.conv_in.",
    "encoder.head.0.": "encoder.norm_out.",
    "decoder.head.0.": "decoder.norm_out.",
    "encoder.head.2.": "encoder.conv_out.",
    "decoder.head.2.": "decoder.conv_out.",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_UPSAMPLES_PER_BLOCK = 4
"""Three residual blocks and what makes the picture larger; the last block of the decoder lacks the latter."""


def names_for(stored: Iterable[str]) -> Mapping[str, str]:
    """Our name -> the file's, for every tensor that a file holds, in either layout."""
    stored = list(stored)
    original = "decoder.conv1.weight" in stored
    return {(to_diffusers(name) if original else name): name for name in stored}


def to_diffusers(name: str) -> str:
    """diffusers' name of a tensor of `Wan2.1_VAE.pth`; an unknown name stays what it is."""
    for old, new in _PLAIN.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    match = re.fullmatch(r"(encoder|decoder)\.(middle|downsamples|upsamples)\.(\d+)\.(.+)", name)
    if match is None:
        return name
    half, group, index, rest = match.groups()
    for old, new in _RESIDUAL.items():
        if rest.startswith(old):
            rest = new + rest.removeprefix(old)
    rest = re.sub(r"^shortcut\.", "conv_shortcut.", rest)
    return f"{half}.{_block(group, index)}.{rest}"


def _block(group: str, index: str) -> str:
    if group == "middle":
        return f"mid_block.{_MIDDLE.get(index, index)}"
    if group == "downsamples":
        return f"down_blocks.{index}"
    block, place = divmod(int(index), _UPSAMPLES_PER_BLOCK)
    return f"up_blocks.{block}." + (f"resnets.{place}" if place < _UPSAMPLES_PER_BLOCK - 1 else "upsamplers.0")
