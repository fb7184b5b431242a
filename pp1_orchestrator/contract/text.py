"""A recipe for an embedding: weighted prompts, and the progress of a transition.

The rank that has the text encoder follows the recipe. The same recipe gives the same embedding on every rank.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

MAX_TERMS = 8
MAX_TEXT_CHARS = 2000

BlendMethod = Literal["linear", "slerp"]


class TextTerm(msgspec.Struct, frozen=True):
    """One prompt of a blend."""

    text: str
    weight: float = 1.0


class TextRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """The blend of `terms`. With source_epoch: `fraction` of the way from that epoch's conditioning to the blend."""

    terms: tuple[TextTerm, ...]
    blend: BlendMethod = "linear"
    source_epoch: int | None = None
    fraction: float = 1.0
    method: BlendMethod = "linear"

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(term.text for term in self.terms)

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(term.weight for term in self.terms)


def recipe_problems(recipe: TextRecipe) -> list[str]:
    """The rules that a recipe breaks, one text each."""
    problems = []
    if not 1 <= len(recipe.terms) <= MAX_TERMS:
        problems.append(f"a recipe has {len(recipe.terms)} prompts; 1 to {MAX_TERMS} are taken")
    for term in recipe.terms:
        if not term.text.strip() or len(term.text) > MAX_TEXT_CHARS:
            problems.append(f"a prompt has {len(term.text)} characters; 1 to {MAX_TEXT_CHARS} are taken")
        if not (math.isfinite(term.weight) and term.weight >= 0):
            problems.append(f"a weight is {term.weight}; it must be finite and not negative")
    if recipe.blend == "slerp" and len(recipe.terms) not in (1, 2):
        problems.append(f"blend=slerp joins 2 prompts, not {len(recipe.terms)}")
    if not 0 <= recipe.fraction <= 1 or (recipe.source_epoch is None and recipe.fraction != 1):
        problems.append(f"fraction is {recipe.fraction} with source_epoch {recipe.source_epoch}")
    return problems
