"""Prompts that nobody writes: encoded or refused in one line, from the route to the shipped text encoder."""

from pathlib import Path

import pytest
import torch

import pp1_orchestrator
from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from tests.fault.test_bodies import listening, parts, posted

__all__ = ["listening", "parts"]  # fixtures
TINY = Path(pp1_orchestrator.__file__).parent / "models" / "tiny"
LENGTH = 48
TAKEN = {
    "a NUL": "a red\x00 circle",
    "controls": "".join(map(chr, range(1, 32))) + "a",
    "emoji": "🟥" * 2000,
    "joined emoji": "👩‍👩‍👧‍👦" * 280,
    "right to left": "\u202ea red circle\u2066\u2069\u200f",
    "marks on one letter": "e" + "\u0301" * 1999,
    "no word": "\ue000\uffff\U0010ffff",
    "one long word": "x" * 2000,
    "spaces around": " " * 1999 + "a",
}


@pytest.fixture(scope="module")
def encoder():
    return load_text_encoder(
        TextSource(TINY / "text_encoder", TINY / "tokenizer"), LENGTH, torch.device("cpu"), torch.float32
    )


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN.keys())
def test_what_is_taken_can_be_encoded(encoder, text):
    assert len(text) <= 2000
    embedding = encoder.encode([text])
    assert embedding.shape == encoder.embed_shape
    assert torch.isfinite(embedding).all()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"prompt": ""}', 422, "prompt is empty"),
        ('{"prompt": "\u3000\u2003"}'.encode(), 422, "prompt is empty"),
        ('{"prompt": "' + "🟥" * 10_000 + '"}', 422, "prompt has 10000 characters; at most 2000 are taken"),
        (b'{"prompt": "\\ud800"}', 400, "the body is not JSON"),
        (b'{"prompt": "\xed\xa0\x80"}', 400, "the body is not JSON"),
        (b'{"prompt": "\xff\xfe"}', 400, "the body is not JSON"),
        (b'{"prompt": "a\nb"}', 400, "the body is not JSON"),
    ],
)
def test_what_is_refused(listening, parts, body, status, says):
    answered, error = posted(listening, body.encode() if isinstance(body, str) else body)
    assert answered == status
    assert error.startswith(says)
    assert parts.stream.updates == []
