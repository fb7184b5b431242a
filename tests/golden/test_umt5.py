"""UMT5: prompts of 1, 6, 32 and 144 tokens in a length of 144.

Token numbers reach the encoder through a tokenizer folder in which each word is a number of the vocabulary.
"""

import json

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from tests.golden.loading import CONTROL, LIMIT, Golden, encode_prompts, errors, publish

FILE = Golden("umt5")
ENCODER, TEXT = FILE.config["encoder"], FILE.config["text"]
EXPECTED = FILE["expected/embeddings"]


def word(number):
    """A token as text. Names of special tokens must not be parts of others: a tokenizer looks for them everywhere."""
    return {TEXT["pad"]: "<pad>", TEXT["end"]: "</s>"}.get(number, f"w{number}")


def prompts():
    """Each row's tokens as words, without the end, which the tokenizer adds."""
    rows = [ids[mask.bool()] for ids, mask in zip(FILE["inputs/ids"], FILE["inputs/mask"], strict=True)]
    assert all(row[-1] == TEXT["end"] for row in rows)
    return [" ".join(word(int(number)) for number in row[:-1]) for row in rows]


def write_tokenizer(folder):
    end = word(TEXT["end"])
    vocabulary = {word(number): number for number in range(ENCODER["vocab"])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=word(2)))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single=f"$A {end}", special_tokens=[(end, TEXT["end"])])
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"pad_token": word(TEXT["pad"]), "eos_token": end, "padding_side": "right"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **named}))


def encoder_options(folder):
    """The encoder, published in a folder that has the tokenizer."""
    sizes = {key: ENCODER[key] for key in ("vocab", "dim", "ffn_dim", "num_heads", "head_dim", "num_layers", "buckets")}
    return [
        "model=wan2_1_1_3b",  # the shipped model has files whose sizes would be compared with these
        f"model.tokenizer={folder}",
        f"model.text_encoder={publish(FILE, folder)}",
        f"model.sizes.text_len={TEXT['length']}",
        f"model.sizes.text_dim={ENCODER['dim']}",
        f"text_encoder.sizes.distance={ENCODER['max_distance']}",
        *(f"text_encoder.sizes.{key}={value}" for key, value in sizes.items()),
    ]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("umt5")
    write_tokenizer(folder)
    return encoder_options(folder)


def test_embeddings_are_upstreams(options):
    assert max(errors(encode_prompts(prompts(), *options), EXPECTED)) < LIMIT


def test_what_follows_a_prompt_is_zero(options):
    embeddings = encode_prompts(prompts(), *options)
    assert all(not rows[mask == 0].any() for rows, mask in zip(embeddings, FILE["inputs/mask"], strict=True))


def test_another_largest_distance_shows_in_long_prompts(options):
    found = errors(encode_prompts(prompts(), *options, "text_encoder.sizes.distance=64"), EXPECTED)
    assert max(found[:2]) < LIMIT
    assert min(found[2:]) > CONTROL


def test_one_table_of_positions_for_all_blocks_shows(options, tmp_path):
    weights, table = FILE.below("weights/"), "blocks.{}.pos_embedding.embedding.weight"
    weights[table.format(1)] = weights[table.format(0)].clone()
    shared = f"model.text_encoder={publish(FILE, tmp_path, weights)}"
    assert max(errors(encode_prompts(prompts(), *options, shared), EXPECTED)) > CONTROL


def test_padding_that_is_attended_to_shows(options):
    """The same tokens, and behind their end padding that counts as text."""
    end, pad = word(TEXT["end"]), word(TEXT["pad"])
    padded = [" ".join([*prompt.split(), end, *[pad] * 20]) for prompt in prompts()[:3]]
    found = encode_prompts(padded, *options) * FILE["inputs/mask"][:3, :, None]
    assert min(errors(found, EXPECTED[:3])) > CONTROL
