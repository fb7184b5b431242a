"""The written-out text encoder gives what transformers gives; tokens and captions hold together."""

import random

import torch

from training.captions import vocabulary
from training.model import make_text_encoder
from training.scene_scripts import make_scripts, random_prompt
from training.tokenizer import TEXT_LENGTH, build_tokenizer, encode
from training.umt5_forward import encode_tokens, position_buckets


def test_forward_matches_transformers() -> None:
    torch.manual_seed(0)
    text = make_text_encoder().eval()
    tokens = encode(build_tokenizer(), ["a red circle moving left", "nothing on a blue background, 4k"])
    with torch.no_grad():
        mine = encode_tokens(text, tokens, position_buckets(text, TEXT_LENGTH))
        mask = tokens != 0
        theirs = text(input_ids=tokens, attention_mask=mask.long()).last_hidden_state * mask[..., None]
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_captions_are_known_words() -> None:
    tokenizer, rng = build_tokenizer(), random.Random(0)
    words = set(vocabulary())
    for _ in range(200):
        text, _ = random_prompt(rng)
        ids = tokenizer.encode(text).ids
        assert len(ids) == TEXT_LENGTH
        assert 2 not in ids
    assert {"red", "circle", "background"} <= words


def test_foreign_text_is_cut_not_refused() -> None:
    tokens = encode(build_tokenizer(), ["Ünïcode 漢字 " * 40])
    assert tokens.shape == (1, TEXT_LENGTH)
    assert tokens[0, -1] == 1


def test_scripts_switch_inside_the_clip() -> None:
    scripts = make_scripts(64, 6, build_tokenizer(), random.Random(0))
    segments = scripts.segments(6)
    assert (segments[:, 0] == 0).all()
    switched = scripts.switch < 6
    assert 0.4 < switched.float().mean() < 0.95
    assert torch.equal(scripts.attributes[~switched, 0], scripts.attributes[~switched, 1])
