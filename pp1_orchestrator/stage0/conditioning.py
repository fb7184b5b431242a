"""Where the stream's conditioning is and where it is going: one recipe for every chunk that changes it.

A transition over N chunks reaches its target in the N-th. It starts from the conditioning of that moment, even from a
transition that is running. Pure bookkeeping; nothing is encoded here.
"""

from dataclasses import dataclass, replace

from pp1_orchestrator.contract.text_recipe import BlendMethod, TextRecipe, TextTerm


@dataclass(frozen=True, slots=True)
class ConditioningTarget:
    """What an update asks for."""

    terms: tuple[TextTerm, ...]
    blend: BlendMethod = "linear"
    steps: int = 0
    """Chunks until it is reached; 0 and 1 both mean in the next chunk."""
    method: BlendMethod = "linear"
    recache: bool = False
    """The history is recomputed under the new prompt."""


class ConditioningSchedule:
    """Numbers the conditionings of a stream and writes the recipe of each."""

    def __init__(self) -> None:
        self._target: ConditioningTarget | None = None
        self._newest: ConditioningTarget | None = None
        self._first_chunk = 0
        self._source: int | None = None
        self._known = False
        """The mesh has the conditioning `epoch`, so a transition can start from it."""
        self.epoch = 0
        """The newest conditioning's number, 0 before the first."""

    def set_target(self, target: ConditioningTarget, chunk: int) -> None:
        """Change towards target from this chunk on. A running transition ends where it is."""
        self._target = self._newest = target
        self._first_chunk = chunk
        self._source = self.epoch if target.steps > 1 and self._known else None

    def restore_target(self, chunk: int) -> None:
        """Show the newest target from this chunk on, without a transition: the mesh no longer has any conditioning."""
        self._known = False
        if self._newest is not None:
            self.set_target(replace(self._newest, steps=0, recache=False), chunk)

    def step(self, chunk: int) -> tuple[TextRecipe, ConditioningTarget] | None:
        """The recipe of conditioning `epoch`, which this chunk is the first to show; None when nothing changes."""
        target = self._target
        if target is None:
            return None
        self.epoch += 1
        self._known = True
        done = chunk - self._first_chunk + 1
        if self._source is None or done >= target.steps:
            self._target = None
            return TextRecipe(terms=target.terms, blend=target.blend), target
        recipe = TextRecipe(
            terms=target.terms,
            blend=target.blend,
            source_epoch=self._source,
            fraction=done / target.steps,
            method=target.method,
        )
        return recipe, target
