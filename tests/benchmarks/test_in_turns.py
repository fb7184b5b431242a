"""Two checkouts are measured in turns, with the lines that were asked for."""

from pathlib import Path

import pytest

from benchmarks import in_turns


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A checkout with a benchmark of its own."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    (tmp_path / "benchmarks" / "speed.py").write_text("print('12 ms per chunk'); print('noise')")
    return tmp_path


def test_each_round_runs_both_checkouts(other, monkeypatch):
    monkeypatch.setattr(in_turns, "HERE", other)
    seen = list(in_turns.runs(other, 2, ["speed"], "ms per chunk"))
    assert seen == [(name, turn, "12 ms per chunk") for turn in (1, 2) for name in ("before", "after")]
