"""An error in one line."""

import pytest

from pp1_orchestrator.errors import first_line, named_line


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
