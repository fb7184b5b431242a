"""Every input that is kept, once through its target: seeds, what once was a finding, and a few damaged ones."""

import hypothesis
import pytest

from tests.fuzz import engines
from tests.fuzz.damage import UNCHECKED, damaged
from tests.fuzz.oracle import Guard

DAMAGED = 20


@pytest.mark.parametrize("name", engines.NAMES)
def test_no_kept_input_is_a_finding(name):
    target = engines.import_target(name)
    guard, kept = engines.guarded(target), engines.seeds(name, target)
    assert kept
    try:
        for file, data in kept.items():
            try:
                guard(data)
            except Exception as error:
                error.add_note(f"the input is {file}")
                raise
        guard.look()
        _damage(guard, list(kept.values()))
        guard.look()
    finally:
        engines.close(target)


def _damage(guard: Guard, kept: list[bytes]) -> None:
    @hypothesis.settings(
        max_examples=DAMAGED, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=UNCHECKED,
    )  # fmt: skip
    @hypothesis.given(damaged(kept))
    def examples(data: bytes) -> None:
        guard(data)

    examples()
