"""An error in one line."""

import pytest

from pp1_orchestrator.errors import MeshError, first_line, named_line, public_line


@pytest.mark.parametrize(
    ("error", "line", "named"),
    [
        (ValueError("a\nb"), "a", "ValueError: a"),
        (KeyError(), "KeyError", "KeyError"),
        (RuntimeError("\nmore"), "RuntimeError", "RuntimeError"),
    ],
)
def test_an_error_says_what_it_has_to_say_once(error, line, named):
    assert (first_line(error), named_line(error)) == (line, named)


@pytest.mark.parametrize(
    ("error", "line"), [(MeshError("a\nb"), "a"), (MeshError(), "MeshError"), (AssertionError(), "AssertionError")]
)
def test_people_are_told_in_words_whatever_it_is(error, line):
    assert public_line(error) == line
    assert public_line(ValueError(3)) == "ValueError: 3"
