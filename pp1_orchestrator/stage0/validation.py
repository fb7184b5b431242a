"""The rules for updates, seeds and timeline entries, wherever they come from. Those for prompts are the contract's."""

from collections.abc import Sequence

from pp1_orchestrator.contract.text_recipe import TextTerm, blend_problems
from pp1_orchestrator.errors import RequestError
from pp1_orchestrator.stage0.conditioning import ConditioningTarget
from pp1_orchestrator.types import MAX_SEED, MAX_TRANSITION_STEPS, PromptUpdate, TimelineEntry, WeightedPrompt

MAX_ENTRIES = 10_000
MAX_CHUNK = 2**31 - 1
"""More than a decade of chunks."""
MAX_DROPPED = 32
"""A cut drops what is in flight. With the largest queues (overlap.d_in, overlap.d_out) that is less."""


def parse_update(update: PromptUpdate) -> ConditioningTarget:
    """What an update asks for. Raises RequestError, naming the field, for what can't be shown."""
    if update.prompt is not None and update.prompts:
        raise RequestError("prompt and prompts exclude each other")
    if not update.has_prompt:
        raise RequestError("prompt is missing: give prompt or prompts")
    prompts = update.prompts or (WeightedPrompt(update.prompt or ""),)
    terms = tuple(TextTerm(prompt.text.strip(), prompt.weight) for prompt in prompts)
    for problem in blend_problems(terms, update.blend):
        raise RequestError(problem)
    steps, method = (update.transition.steps, update.transition.method) if update.transition else (0, "linear")
    if not 0 <= steps <= MAX_TRANSITION_STEPS:
        raise RequestError(f"transition.steps is {steps}; 0 to {MAX_TRANSITION_STEPS} chunks are possible")
    return ConditioningTarget(terms, update.blend, steps, method, recache=update.cut == "recache")


def label(terms: Sequence[TextTerm]) -> str:
    """A blend in words: its prompt, or "0.30 × a + 0.70 × b"."""
    if len(terms) == 1:
        return terms[0].text
    return " + ".join(f"{term.weight:.2f} × {term.text}" for term in terms)


def check_entries(entries: Sequence[TimelineEntry]) -> None:
    """Raises RequestError, naming the entry, for a timeline that can't be run."""
    if len(entries) > MAX_ENTRIES:
        raise RequestError(f"entries has {len(entries)} of them; at most {MAX_ENTRIES} are taken")
    seen: set[int] = set()
    for entry in entries:
        if not 0 <= entry.chunk <= MAX_CHUNK:
            raise RequestError(f"chunk is {entry.chunk}; 0 to {MAX_CHUNK} are possible")
        if entry.chunk in seen:
            raise RequestError(f"chunk {entry.chunk} has two entries")
        seen.add(entry.chunk)
        try:
            _check_entry(entry)
        except RequestError as error:
            raise RequestError(f"chunk {entry.chunk}: {error}") from error


def check_live_entries(entries: Sequence[TimelineEntry]) -> None:
    """`check_entries` for a running stream, in which no chunk is made only to be dropped."""
    check_entries(entries)
    for entry in entries:
        if entry.dropped:
            raise RequestError(f"chunk {entry.chunk}: dropped is {entry.dropped}; only run.script can drop chunks")


def check_seed(seed: int | None) -> int:
    """Raises RequestError for what is no seed."""
    if seed is None or not 0 <= seed <= MAX_SEED:
        raise RequestError(f"value is {seed}; a seed is a whole number from 0 to {MAX_SEED}")
    return seed


def check_strength(strength: float) -> float:
    """Raises RequestError for what is no strength of an input."""
    if not 0 <= strength <= 1:
        raise RequestError(f"strength is {strength}; 0 to 1 are possible")
    return strength


def check_takes_strength(entries: Sequence[TimelineEntry], has_source: bool) -> None:
    """Raises RequestError for an entry with a strength where nothing comes in."""
    for entry in entries:
        if entry.strength is not None and not has_source:
            raise RequestError(f"chunk {entry.chunk}: strength is {entry.strength}; source=none has no input")


def _check_entry(entry: TimelineEntry) -> None:
    if entry.has_prompt:
        parse_update(entry)
    elif entry.cut == "recache":
        raise RequestError("cut=recache needs a prompt to recompute the history under")
    elif entry.seed is None and entry.strength is None and entry.cut == "soft":
        raise RequestError("changes nothing: give prompt, prompts, seed, strength or cut")
    if entry.seed is not None:
        check_seed(entry.seed)
    if entry.strength is not None:
        check_strength(entry.strength)
    if not 0 <= entry.dropped <= min(entry.chunk, MAX_DROPPED) or (entry.dropped and entry.cut != "hard"):
        raise RequestError(f"dropped is {entry.dropped}; it counts chunks before a hard cut, at most {MAX_DROPPED}")
