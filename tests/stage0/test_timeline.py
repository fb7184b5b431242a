"""Timelines: what is refused, what is planned and dropped, and that a file holds all of an entry."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp1_orchestrator.errors import ConfigError, RequestError
from pp1_orchestrator.stage0.timeline import Timeline, read_script, write_script
from pp1_orchestrator.stage0.validation import MAX_CHUNK, check_entries, check_live_entries, label, parse_update
from pp1_orchestrator.types import PromptUpdate, TimelineEntry, Transition, WeightedPrompt

BLEND = (WeightedPrompt("a", 1.0), WeightedPrompt("b", 2.0))


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (PromptUpdate(), "prompt is missing: give prompt or prompts"),
        (PromptUpdate(prompt="  "), "prompt is empty"),
        (PromptUpdate(prompt="red \udcff"), "is no text: it can't be written as UTF-8"),
        (PromptUpdate(prompt="a", prompts=BLEND), "exclude each other"),
        (PromptUpdate(prompt="x" * 2001), "2001 characters; at most 2000"),
        (PromptUpdate(prompts=(*BLEND, *BLEND, *BLEND, *BLEND, *BLEND)), "prompts has 10 entries"),
        (PromptUpdate(prompts=(WeightedPrompt("a", -1.0),)), "weight is -1.0"),
        (PromptUpdate(prompts=(WeightedPrompt("a", float("nan")),)), "weight is nan"),
        (PromptUpdate(prompt="a", blend="slerp"), "exactly 2 prompts, not 1"),
        (PromptUpdate(prompt="a", transition=Transition(steps=-1)), "transition.steps is -1"),
        (PromptUpdate(prompt="a", transition=Transition(steps=1001)), "transition.steps is 1001"),
    ],
)
def test_what_cannot_be_shown_is_one_line_that_names_it(update, words):
    with pytest.raises(RequestError, match=words):
        parse_update(update)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (TimelineEntry(chunk=0), "changes nothing"),
        (TimelineEntry(chunk=-1, prompt="a"), "chunk is -1; 0 to 2147483647"),
        (TimelineEntry(chunk=2**31, prompt="a"), "chunk is 2147483648; 0 to 2147483647"),
        (TimelineEntry(chunk=1, prompt="taken"), "chunk 1 has two entries"),
        (TimelineEntry(chunk=2, seed=-1), "seed is a whole number"),
        (TimelineEntry(chunk=2, cut="recache"), "recache needs a prompt"),
        (TimelineEntry(chunk=2, prompt="a", dropped=1), "dropped is 1"),
        (TimelineEntry(chunk=2, cut="hard", dropped=3), "dropped is 3"),
        (TimelineEntry(chunk=10**6, cut="hard", dropped=33), "dropped is 33; .* at most 32"),
    ],
)
def test_an_entry_that_cannot_be_run_is_named(entry, words):
    with pytest.raises(RequestError, match=words):
        check_entries([TimelineEntry(chunk=1, prompt="a"), entry])


def test_a_running_stream_drops_no_chunks():
    entry = TimelineEntry(chunk=1000, cut="hard", dropped=1)
    check_entries([entry])
    with pytest.raises(RequestError, match=r"chunk 1000: dropped is 1; only run\.script can drop chunks"):
        check_live_entries([entry])


def test_what_counts_from_the_next_chunk_stays_in_the_range_of_chunks():
    timeline = Timeline([TimelineEntry(chunk=5, prompt="a")])
    timeline.take(0)
    with pytest.raises(RequestError, match="chunk 2147483647 after chunk 2 is 2147483649; at most 2147483647"):
        timeline.replace([TimelineEntry(chunk=MAX_CHUNK, prompt="a")], relative=True)
    assert [entry.chunk for entry in timeline.from_chunk(0)] == [5]


def test_a_blend_is_named_by_its_weights():
    assert label(parse_update(PromptUpdate(prompts=BLEND)).terms) == "1.00 × a + 2.00 × b"
    assert label(parse_update(PromptUpdate(prompt=" a ")).terms) == "a"


def test_replacing_a_timeline_leaves_the_past_alone():
    timeline = Timeline([TimelineEntry(chunk=0, prompt="a"), TimelineEntry(chunk=9, prompt="b")])
    assert timeline.take(3) is None
    assert timeline.replace([TimelineEntry(chunk=2, cut="hard", dropped=2)], relative=True) == 5
    assert timeline.at(0) is not None
    assert [entry.chunk for entry in timeline.from_chunk(0)] == [0, 7]
    assert timeline.at(9) is None
    assert [chunk for chunk in range(10) if timeline.drops(chunk)] == [5, 6]


prompts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(str.strip)
weighted = st.builds(WeightedPrompt, prompts, st.floats(0, 10))
entries = st.builds(
    TimelineEntry,
    chunk=st.integers(0, 10**6),
    prompts=st.lists(weighted, min_size=1, max_size=3).map(tuple),
    transition=st.none() | st.builds(Transition, st.integers(0, 100), st.sampled_from(["linear", "slerp"])),
    cut=st.sampled_from(["soft", "hard", "recache"]),
    seed=st.none() | st.integers(0, 2**31 - 1),
) | st.builds(TimelineEntry, chunk=st.integers(0, 10**6), prompt=prompts)


@given(st.lists(entries, max_size=6, unique_by=lambda entry: entry.chunk))
def test_a_file_gives_back_what_was_written(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("script") / "recording.yaml"
    write_script(wanted, path, "a heading")
    assert read_script(path) == wanted


def test_a_file_may_be_what_the_page_exports_and_the_api_gives(tmp_path):
    path = tmp_path / "timeline.json"
    path.write_text('{"entries": [{"chunk": 3, "prompt": "a"}]}')
    assert read_script(path) == [TimelineEntry(chunk=3, prompt="a")]


def test_a_bad_file_is_one_line(tmp_path):
    path = tmp_path / "script.yaml"
    for text, words in (
        ("- {chunk: 0, prompt: a, mood: b}", "mood"),
        ("- {chunk: 0, prompt: [", "not valid YAML"),
        ("- {prompt: a}", "chunk"),
        ("- {chunk: 0, prompt: a}\n- {chunk: 0, prompt: b}", "chunk 0 has two entries"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words) as caught:
            read_script(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"run.script={path}: ")


@pytest.mark.parametrize("path", [Path("/dev/zero"), Path("~nobody-has-this-name/x.yaml")])
def test_a_file_without_an_end_or_a_place_is_one_line(path):
    with pytest.raises(ConfigError, match=f"^run.script={path}: (is larger than|can't be read: No such file)"):
        read_script(path)


def test_what_a_replay_threw_away_costs_no_memory_and_a_replaced_timelines_past_is_forgotten():
    far = 2_000_000_000
    timeline = Timeline([TimelineEntry(chunk=far, cut="hard", dropped=far)])
    assert timeline.drops(0)
    assert timeline.drops(far - 1)
    assert not timeline.drops(far)
    timeline.take(far + 8)
    timeline.replace([TimelineEntry(chunk=far + 5000, prompt="a")], relative=False)
    assert timeline.at(far) is not None  # may still be under way
    timeline.take(far + 4000)
    timeline.replace([], relative=False)
    assert timeline.at(far) is None
