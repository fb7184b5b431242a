"""Which known holes in dependencies are accepted: only with a reason and a last day."""

import datetime
import tomllib

import pytest

from scripts.audit import EXCEPTIONS, accepted

DAY = datetime.date(2026, 5, 1)
REASON = "only on Windows"


def test_an_exception_holds_until_its_last_day():
    entries = {"GHSA-1": {"reason": REASON, "until": DAY}}
    assert list(accepted(entries, DAY)) == ["GHSA-1"]
    assert list(accepted(entries, DAY + datetime.timedelta(days=1))) == []


@pytest.mark.parametrize("entry", [{}, {"reason": REASON}, {"until": DAY}, {"reason": REASON, "until": "soon"}])
def test_an_exception_without_a_reason_or_a_day_is_a_mistake(entry):
    with pytest.raises(ValueError, match="GHSA-1: needs a reason, and until = a date"):
        list(accepted({"GHSA-1": entry}, DAY))


def test_the_exceptions_of_this_project_are_complete():
    entries = tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))
    assert list(accepted(entries, datetime.date.min)) == list(entries)
