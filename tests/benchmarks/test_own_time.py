"""The benchmark of the orchestrator's own time in its small form: real processes, all parts, both kinds of chunk."""

import pytest

from benchmarks.own_time import NEW_PROMPT_EVERY, PARTS, Sizes, measure, table

pytestmark = pytest.mark.slow

CHUNKS = 4 * NEW_PROMPT_EVERY


def test_every_part_of_every_chunk_is_timed():
    found = measure(Sizes(32, 48, (1, 8, 16)), CHUNKS)
    assert (len(found[True]), len(found[False])) == (CHUNKS // NEW_PROMPT_EVERY, CHUNKS - CHUNKS // NEW_PROMPT_EVERY)
    timed = [dict(zip(PARTS, chunk, strict=True)) for chunks in found.values() for chunk in chunks]
    for chunk in timed:
        chunk["send"] += chunk.pop("leader")  # the leader may have worked before the send has returned
        assert min(chunk.values()) > 0, chunk
    lines = table(found)
    assert [line.split("|")[1].strip() for line in lines[2:]] == [*PARTS, "**all**"]
    assert len({line.count("|") for line in lines}) == 1
