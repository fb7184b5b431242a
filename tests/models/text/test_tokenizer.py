"""What becomes of a prompt's text before it is cut into tokens."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from pp1_orchestrator.models.text.load_text_encoder import TextSource, load_text_encoder
from pp1_orchestrator.models.text.tokenizer import FolderTokenizer, clean_prompt
from tests.planning.factories import settings


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
        ("a „red“ ‚circle‘", "a \"red\" 'circle'"),
        ("schÃ¶n", "schön"),
        ("\ufeffa red\x07 circle\u0085on blue", "a red circle…on blue"),
        ("", ""),
    ],
)
def test_a_prompt_is_cleaned_as_upstream_does(text, wanted):
    assert clean_prompt(text) == wanted
    assert clean_prompt(wanted) == wanted or "<" in wanted


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tokenizer whose unknown token is not the third one, as T5's own class would have it."""
    words = ["<pad>", "</s>", "<s>", "<unk>", "▁red", "▁circle", "▁a"]
    tokenizer = Tokenizer(models.Unigram([(word, -float(at)) for at, word in enumerate(words)], 3, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"}')
    return folder


@pytest.mark.parametrize(
    ("text", "ids"),
    [("a red circle", [6, 4, 5, 1]), ("a 🟥 circle", [6, 3, 5, 1]), ("", [1]), ("red " * 9, [4, 4, 4, 4, 4, 1])],
)
def test_the_folders_own_numbers_are_taken(folder, text, ids):
    found, mask = FolderTokenizer(folder)([text, "a"], 6)
    assert found[0].tolist() == ids + [0] * (6 - len(ids))
    assert mask[0].tolist() == [1] * len(ids) + [0] * (6 - len(ids))
    assert found[1].tolist() == [6, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "1.0"}'])
def test_a_file_that_is_no_tokenizer_is_one_line(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(OSError, match="not a tokenizer") as caught:
        FolderTokenizer(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_the_size_counts_added_tokens_too(folder):
    """What an encoder must have an embedding for."""
    assert FolderTokenizer(folder).size == 7


def test_a_tokenizer_with_more_tokens_than_embeddings_is_one_line(tmp_path):
    words = {"<pad>": 0, **{f"word {number}": number for number in range(1, 9_999)}}
    Tokenizer(models.WordLevel(words, "<pad>")).save(str(tmp_path / "tokenizer.json"))
    source = TextSource(settings().model.part("text_encoder"), tmp_path)
    with pytest.raises(ValueError, match=r"has 9999 tokens, and .* do not belong together") as refused:
        load_text_encoder(source, 8, torch.device("cpu"), torch.float32)
    assert "\n" not in str(refused.value)
