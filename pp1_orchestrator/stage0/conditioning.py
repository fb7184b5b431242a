"""Where the stream's conditioning is and where it is going: one recipe for every chunk that changes it.

A transition over N chunks reaches its target in the N-th, and starts from wherever the conditioning is at that moment,
a running transition included. Pure bookkeeping; nothing is encoded here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pp1_orchestrator.contract.text import BlendMethod, TextRecipe, TextTerm


@dataclass(frozen=True, slots=True)
class ConditioningTarget:
    """What an update asks for. steps: chunks until it is reached; 0 and 1 both mean at once."""

    terms: tuple[TextTerm, ...]
    blend: BlendMethod = "linear"
    steps: int = 0
    method: BlendMethod = "linear"
    recache: bool = False


class ConditioningSchedule:
    """Counts conditionings. `epoch` is the newest one's number, 0 before the first."""

    def __init__(self) -> None:
        self._aim: ConditioningTarget | None = None
        self._newest: ConditioningTarget | None = None
        self._first_chunk = 0
        self._source: int | None = None
        self._known = False
        self.epoch = 0

    @property
    def moving(self) -> bool:
        """True while chunks to come will change the conditioning."""
        return self._aim is not None

    def aim(self, aim: ConditioningTarget, chunk: int) -> None:
        """Head for something new from chunk on; whatever was on its way ends where it is."""
        self._aim = self._newest = aim
        self._first_chunk = chunk
        self._source = self.epoch if aim.steps > 1 and self._known else None

    def again(self, chunk: int) -> None:
        """From chunk on show what was aimed at last, at its target: no conditioning until now is known any more."""
        self._known = False
        if self._newest is not None:
            self.aim(replace(self._newest, steps=0, recache=False), chunk)

    def step(self, chunk: int) -> tuple[TextRecipe, ConditioningTarget] | None:
        """The recipe of conditioning `epoch`, which this chunk is the first to show; None when nothing changes."""
        aim = self._aim
        if aim is None:
            return None
        self.epoch += 1
        self._known = True
        done = chunk - self._first_chunk + 1
        if self._source is None or done >= aim.steps:
            self._aim = None
            return TextRecipe(terms=aim.terms, blend=aim.blend), aim
        recipe = TextRecipe(
            terms=aim.terms,
            blend=aim.blend,
            source_epoch=self._source,
            fraction=done / aim.steps,
            method=aim.method,
        )
        return recipe, aim
