"""The shipped text encoder and tokenizer: what a prompt's embedding is, where it ends, what is cut off."""

import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.auto import AutoTokenizer
from transformers.models.umt5 import UMT5EncoderModel

import pp1_orchestrator
from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from pp1_orchestrator.models.text.tokenizer import PromptLimit

TINY = Path(pp1_orchestrator.__file__).parent / "models" / "tiny"
LENGTH = 48
PROMPTS = ["a red circle moving left on a blue background", "star", "", "ünïcode 漢字 😀", "big " * 100]


@pytest.fixture(scope="module")
def encoder():
    return load_text_encoder(
        TextSource(TINY / "text_encoder", TINY / "tokenizer"), LENGTH, torch.device("cpu"), torch.float32
    )


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(str(TINY / "tokenizer"), local_files_only=True)


@pytest.fixture(scope="module")
def umt5():
    return UMT5EncoderModel.from_pretrained(str(TINY / "text_encoder"), dtype=torch.float32).eval()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_an_embedding_is_umt5s_up_to_the_end_and_zero_beyond(encoder, tokenizer, umt5, prompt):
    """Beside it: the same model on the prompt's own tokens, without any padding."""
    ids = tokenizer(prompt, truncation=True, max_length=LENGTH, padding=False, return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = umt5(input_ids=ids).last_hidden_state[0]
    (embeds,) = encoder.encode([prompt])
    assert embeds.shape == encoder.embed_shape[1:] == (LENGTH, 96)
    torch.testing.assert_close(embeds[: len(wanted)], wanted, rtol=1e-4, atol=1e-4)
    assert (embeds[: len(wanted)].abs().amax(-1) > 0).all()
    assert not embeds[len(wanted) :].any()


def test_a_batch_gives_what_its_prompts_give_alone(encoder):
    together = encoder.encode(PROMPTS)
    alone = torch.cat([encoder.encode([prompt]) for prompt in PROMPTS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_a_long_prompt_is_cut_and_still_ends(encoder, tokenizer):
    long = "big " * (LENGTH + 10)
    ids = tokenizer(long, truncation=True, max_length=LENGTH, padding=False).input_ids
    assert len(ids) == LENGTH
    assert ids[-1] == tokenizer.eos_token_id
    assert torch.equal(encoder.encode([long]), encoder.encode(["big " * (LENGTH - 1)]))
    assert not torch.equal(encoder.encode([long]), encoder.encode(["big " * (LENGTH - 2)]))


@pytest.mark.parametrize("text", [*PROMPTS, "big " * (LENGTH - 1), "big " * LENGTH, "x" * 2000])
def test_a_prompt_exceeds_the_limit_exactly_when_tokens_of_it_are_cut_off(tokenizer, text):
    cut = len(tokenizer(text).input_ids) > LENGTH
    limit = PromptLimit(TINY / "tokenizer", random=False, limit=LENGTH)
    assert (limit.read_chars(text) is not None) == cut


ARABIC = (
    "\u0642\u0637\u0629 \u062d\u0645\u0631\u0627\u0621 \u062a\u062c\u0644\u0633 "
    "\u0639\u0644\u0649 \u0627\u0644\u0633\u0637\u062d \u0627\u0644"
)
"""Its 27 characters are 51 tokens."""


@pytest.mark.parametrize(
    ("text", "chars"),
    [
        ("big " * LENGTH, 4 * (LENGTH - 1)),
        (ARABIC, 25),
    ],
)
def test_how_much_is_read_is_counted_in_characters(text, chars):
    assert PromptLimit(TINY / "tokenizer", random=False, limit=LENGTH).read_chars(text) == chars


def test_bytes_are_counted_in_characters_too(tmp_path):
    limit = PromptLimit(tmp_path / "none", random=True, limit=6)
    assert [limit.read_chars(text) for text in ("abcde", "abcdef", "\u00e4\u00e4\u00e4")] == [None, 5, 2]


def spelled(tokenizer, text: str) -> str:
    """The pieces of a text put together again by hand: bytes as bytes, ▁ as a space."""
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(text, padding=False).input_ids)
    assert pieces.pop() == tokenizer.eos_token
    raw = [bytes([int(p[3:5], 16)]) if p.startswith("<0x") else p.encode() for p in pieces]
    return b"".join(raw).decode().replace("▁", " ").strip()


words = st.text(st.sampled_from("abcxyz019 !?'\"-:;()/&ABZéß漢ﬁ😀"), max_size=16)


@given(words)
def test_the_tokenizer_loses_nothing_but_capitals_and_spaces(tokenizer, text):
    wanted = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    assert spelled(tokenizer, text) == wanted
    assert tokenizer.unk_token_id not in tokenizer(text, padding=False).input_ids


def test_words_of_the_world_are_one_token_each(tokenizer):
    text = "a small yellow star spinning slowly on a blue background"
    ids = tokenizer(text, padding=False).input_ids
    assert len(ids) == len(text.split()) + 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_random_weights_have_the_same_shapes(encoder):
    source = TextSource(TINY / "text_encoder", TINY / "tokenizer", seed=1)
    other = load_text_encoder(source, LENGTH, torch.device("cpu"), torch.float32)
    assert (other.embed_shape, other.weight_bytes) == (encoder.embed_shape, encoder.weight_bytes)
    assert not torch.equal(other.encode(["star"]), encoder.encode(["star"]))
