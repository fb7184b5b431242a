"""Transitions arrive, start from where the stream is, and are counted; pure bookkeeping."""

from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.contract.text_recipe import TextTerm, recipe_problems
from pp1_orchestrator.stage0.conditioning import ConditioningSchedule, ConditioningTarget

RED, BLUE, GREEN = ((TextTerm(name),) for name in ("red", "blue", "green"))


def steps_of(track: ConditioningSchedule, chunks: range) -> list:
    return [track.step(chunk) for chunk in chunks]


def settled(terms) -> ConditioningSchedule:
    track = ConditioningSchedule()
    track.set_target(ConditioningTarget(terms), 0)
    assert track.step(0) is not None
    return track


def test_the_first_conditioning_is_there_at_once_even_with_a_transition():
    track = ConditioningSchedule()
    track.set_target(ConditioningTarget(RED, steps=5), 0)
    recipe, _ = track.step(0) or (None, None)
    assert recipe is not None
    assert (recipe.terms, recipe.source_epoch, recipe.fraction) == (RED, None, 1.0)
    assert track.step(5) is None


@given(st.integers(0, 40), st.integers(0, 100))
def test_a_transition_over_n_chunks_arrives_in_the_nth(steps, start):
    track = settled(RED)
    track.set_target(ConditioningTarget(BLUE, steps=steps), start)
    made = [step[0] for step in steps_of(track, range(start, start + max(1, steps))) if step is not None]
    assert len(made) == max(1, steps)
    assert (made[-1].terms, made[-1].source_epoch) == (BLUE, None)
    fractions = [recipe.fraction for recipe in made]
    assert fractions == sorted(set(fractions))
    assert fractions[0] > 0
    assert all(recipe.source_epoch == 1 for recipe in made[:-1])
    assert all(not recipe_problems(recipe) for recipe in made)
    assert track.step(start + max(1, steps)) is None


def test_a_new_prompt_starts_from_the_current_blend():
    track = settled(RED)
    track.set_target(ConditioningTarget(BLUE, steps=4), 1)
    steps_of(track, range(1, 3))
    halfway = track.epoch
    track.set_target(ConditioningTarget(GREEN, steps=2), 3)
    recipe, _ = track.step(3) or (None, None)
    assert recipe is not None
    assert (recipe.terms, recipe.source_epoch, recipe.fraction) == (GREEN, halfway, 0.5)


@given(st.lists(st.tuples(st.sampled_from([RED, BLUE, GREEN]), st.integers(0, 6)) | st.none(), max_size=30))
def test_epochs_rise_by_one_with_every_change_and_sources_lie_before_them(wishes):
    track, last = settled(RED), 1
    for chunk, wish in enumerate(wishes, start=1):
        if wish is not None:
            track.set_target(ConditioningTarget(wish[0], steps=wish[1]), chunk)
        step = track.step(chunk)
        assert track.epoch == last + (step is not None)
        if step is not None and step[0].source_epoch is not None:
            assert step[0].source_epoch <= last
        last = track.epoch
