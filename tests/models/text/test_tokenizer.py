"""What becomes of a prompt's text before it is cut into tokens."""

import pytest

from pp1_orchestrator.models.text.tokenizer import clean_prompt


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a red  circle\n on\tblue ", "a red circle on blue"),
        ("salt &amp; pepper", "salt & pepper"),
        ("salt &amp;amp; pepper", "salt & pepper"),
        ("&lt;b&gt; it&#39;s", "<b> it's"),
        ("don’t say “no”", 'don\'t say "no"'),
        ("cafe\u0301", "café"),
        ("\u3000wide\u2003blank\u00a0here", "wide blank here"),
        ("", ""),
    ],
)
def test_a_prompt_is_cleaned_as_upstream_does(text, wanted):
    assert clean_prompt(text) == wanted
    assert clean_prompt(wanted) == wanted or "<" in wanted
