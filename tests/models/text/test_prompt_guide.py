"""What a model says that it understands: the shipped model's file, none, and one of another form."""

import json
from pathlib import Path

import pytest

import pp1_orchestrator
from pp1_orchestrator.models.text.prompt_guide import FILE, MAX_BYTES, MAX_SUMMARY_CHARS, read_prompt_guide
from pp1_orchestrator.types import PromptGuide
from pp1_orchestrator.ui.markup import EXAMPLES
from training.export import export_prompt_guide

TINY = Path(pp1_orchestrator.__file__).parent / "models/tiny"


def test_the_shipped_file_is_what_training_writes(tmp_path):
    export_prompt_guide(tmp_path)
    assert (TINY / FILE).read_bytes() == (tmp_path / FILE).read_bytes()


def test_the_pages_examples_have_no_word_that_the_model_does_not_know():
    assert {word for example in EXAMPLES for word in example.split()} <= set(read_prompt_guide(TINY).words)


def test_a_model_without_the_file_says_nothing(tmp_path):
    assert read_prompt_guide(tmp_path) == PromptGuide()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"words": [1]}',
        b'{"words": ["\xff"]}',
        b'{"more": 1}',
        b" " * (MAX_BYTES + 1),
        json.dumps({"summary": "x" * (MAX_SUMMARY_CHARS + 1)}).encode(),
    ],
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ValueError, match=FILE) as refused:
        read_prompt_guide(tmp_path)
    assert "\n" not in str(refused.value)
