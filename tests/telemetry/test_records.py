"""chunks.jsonl: a line a chunk with the figures that follow from its times."""

import json

import pytest

from pp1_orchestrator.telemetry.records import ChunkLog, periods_s
from tests.telemetry.factories import run


def written(log, tmp_path):
    path = tmp_path / "chunks.jsonl"
    log.write(path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_a_chunk_with_derived_milliseconds(tmp_path):
    log = ChunkLog()
    for record in run([0.185] * 3, [0.805] * 3, [0.875] * 3):
        log.add(record)
    lines = written(log, tmp_path)
    assert [line["chunk_index"] for line in lines] == [0, 1, 2]
    assert lines[0]["period_ms"] is None
    assert lines[0]["hidden_ms"] is None
    assert lines[1]["period_ms"] == pytest.approx(875)
    assert lines[1]["stage0_ms"] == pytest.approx(185)
    assert lines[1]["mesh_ms"] == pytest.approx(805)
    assert lines[1]["hidden_ms"] == pytest.approx(115)
    assert lines[0]["hidden_ratio"] is None
    assert lines[1]["hidden_ratio"] == pytest.approx(0.622, abs=5e-4)
    assert lines[1]["decode_ms"] == pytest.approx(170)


def test_the_ratio_of_a_chunk_is_written_as_it_is(tmp_path):
    log = ChunkLog()
    for record in run([0.9] * 2, [0.2] * 2, [0.6] * 2):
        log.add(record)
    assert written(log, tmp_path)[1]["hidden_ratio"] == pytest.approx(2.5)


def test_times_beside_a_gap_are_no_period():
    records = run([0.1] * 4, [0.1] * 4, [0.1] * 4)
    del records[1]
    assert periods_s(records) == [None, None, pytest.approx(0.1)]
    assert periods_s([]) == []


def test_the_newest_chunks_are_kept_and_the_rest_are_counted(tmp_path):
    log = ChunkLog(limit=2)
    for record in run([0.1] * 5, [0.1] * 5, [0.1] * 5):
        log.add(record)
    assert [line["chunk_index"] for line in written(log, tmp_path)] == [3, 4]
    assert log.count == 5


def test_a_run_without_chunks_writes_an_empty_file(tmp_path):
    assert written(ChunkLog(), tmp_path) == []
