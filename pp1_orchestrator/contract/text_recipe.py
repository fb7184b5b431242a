"""A recipe for an embedding: weighted prompts, and the progress of a transition.

The rank that has the text encoder follows the recipe. The same recipe gives the same embedding on every rank.
"""

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from pp1_orchestrator.types import MAX_PROMPT_CHARS, MAX_PROMPTS

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


def blend_problems(terms: Sequence[TextTerm], blend: BlendMethod) -> list[str]:
    """The rules that a blend of prompts breaks, one text each. The interface uses the same rules and texts."""
    problems: list[str] = []
    if not 1 <= len(terms) <= MAX_PROMPTS:
        problems.append(f"prompts has {len(terms)} entries; 1 to {MAX_PROMPTS} are possible")
    for term in terms:
        if not term.text.strip():
            problems.append("prompt is empty")
        if len(term.text) > MAX_PROMPT_CHARS:
            problems.append(f"prompt has {len(term.text)} characters; at most {MAX_PROMPT_CHARS} are taken")
        if any("\ud800" <= char <= "\udfff" for char in term.text):  # halves of characters: bytes that were no UTF-8
            problems.append(f"prompt is {term.text[:40]!a}, which is no text: it can't be written as UTF-8")
        if not (math.isfinite(term.weight) and term.weight >= 0):
            problems.append(f"weight is {term.weight}; a weight is finite and not negative")
    if blend == "slerp" and len(terms) != 2:
        problems.append(f"blend=slerp joins exactly 2 prompts, not {len(terms)}")
    return problems


def recipe_problems(recipe: TextRecipe) -> list[str]:
    """The rules that a recipe breaks, one text each."""
    problems = blend_problems(recipe.terms, recipe.blend)
    if not 0 <= recipe.fraction <= 1 or (recipe.source_epoch is None and recipe.fraction != 1):
        problems.append(f"fraction is {recipe.fraction} with source_epoch {recipe.source_epoch}")
    return problems
