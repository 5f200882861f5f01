"""Byte pairs against MetaVoice's own ids, and against the definition of joining by rank."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unison.errors import UnisonError
from unison.text.bpe import PATTERN, BytePairs, normalise

CORPUS = [
    "the weather is nothing like the weather of then",
    "there they then gather the leather, the feather and the heather",
    "तुम कैसे हो? तुम अच्छे हो।",
    "你好，你们好。大家好！",
    "....... ,,, --- aaaa aaaaaa ababab",
] * 2


@pytest.fixture(scope="module")
def reference(resources: Path) -> dict[str, Any]:
    """The reference's table of ranks and what it makes of a text."""
    values: dict[str, Any] = json.loads((resources / "metavoice_tokenizer.json").read_text())
    return values


@pytest.fixture(scope="module")
def meta(reference: dict[str, Any]) -> dict[str, Any]:
    """The `meta.tokenizer` of a MetaVoice checkpoint."""
    ranks = {token.encode("latin-1"): rank for rank, token in enumerate(reference["tokens"])}
    return {
        "name": "bpe",
        "pat_str": reference["pat_str"],
        "mergeable_ranks": ranks,
        "special_tokens": reference["special_tokens"],
        "offset": 2049,
    }


@pytest.fixture(scope="module")
def trained() -> BytePairs:
    return BytePairs.train(CORPUS, 400)


def joined_by_rank(word: bytes, ranks: dict[bytes, int]) -> list[int]:
    """The definition, slowly: join the pair of lowest rank, the leftmost first, until none is left."""
    if word in ranks:
        return [ranks[word]]
    parts = [word[i : i + 1] for i in range(len(word))]
    while True:
        pairs = [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]
        if not pairs:
            return [ranks[part] for part in parts]
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


@pytest.mark.parametrize("stage", ["first", "second"])
def test_ids_are_the_references(reference: dict[str, Any], meta: dict[str, Any], stage: str) -> None:
    tokenizer = BytePairs.from_tiktoken(meta)
    offset = reference[stage]["offset"]
    assert [offset + i for i in (*tokenizer.encode(reference["text"]), tokenizer.end)] == reference[stage]["ids"]


# each is one word: letters alone, or marks alone
@given(st.text("theawrnb你们好तुम", max_size=40) | st.text(".,-।！", max_size=40))
def test_pairs_are_joined_by_rank(trained: BytePairs, word: str) -> None:
    ranks = {token: rank for rank, token in enumerate(trained.tokens)}
    assert trained.encode(word) == joined_by_rank(normalise(word).encode(), ranks)


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_comes_back_normalised(trained: BytePairs, text: str) -> None:
    ids = trained.encode(text)
    assert all(0 <= i < trained.end for i in ids)
    assert trained.decode(ids) == normalise(text) == normalise(normalise(text))


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("\u201cIt\u2019s\u201d \u2018so\u2019\u2026", "\"It's\" 'so'..."),
        ("a \u2013 b\u2014c", "a - b-c"),
        ("  a\t\n b\u00a0\u3000c *d* ", "a b c d"),
        ("Unison\u2122", "UnisonTM"),
        ("cafe\u0301", "café"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("नमस्ते दुनिया", "नमस्ते दुनिया"),
        ("", ""),
    ],
)
def test_text_is_normalised(text: str, typed: str) -> None:
    assert normalise(text) == typed


def test_the_end_tokens_name_is_ordinary_text(meta: dict[str, Any]) -> None:
    tokenizer = BytePairs.from_tiktoken(meta)
    ids = tokenizer.encode("<|endoftext|>")
    assert tokenizer.end not in ids
    assert tokenizer.decode(ids) == "<|endoftext|>"


def test_the_same_texts_give_the_same_tokenizer(trained: BytePairs) -> None:
    assert BytePairs.train(iter(CORPUS), 400) == trained
    assert BytePairs.train(CORPUS[:2], 400) != trained


def test_training_shortens_what_it_has_seen(trained: BytePairs) -> None:
    assert len(trained.encode("the weather")) < len(BytePairs.train([], 400).encode("the weather"))
    assert len(trained.encode("तुम")) < len("तुम".encode())


def test_the_end_does_not_depend_on_the_corpus(trained: BytePairs) -> None:
    small = BytePairs.train(["a"], 512)
    assert (len(small.tokens), small.end, trained.end) == (256, 512, 400)


def test_primitives_bring_it_back(trained: BytePairs, meta: dict[str, Any]) -> None:
    for tokenizer in (trained, BytePairs.from_tiktoken(meta)):
        assert BytePairs.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer


def test_workers_get_a_tokenizer_that_has_been_used(trained: BytePairs) -> None:
    ids = trained.encode("the weather")
    assert pickle.loads(pickle.dumps(trained)).encode("the weather") == ids


def test_ids_without_a_token_are_refused(trained: BytePairs) -> None:
    with pytest.raises(ValueError, match="400"):
        trained.decode([104, trained.end])


def test_too_few_ranks_are_refused() -> None:
    with pytest.raises(UnisonError, match="ranks=255"):
        BytePairs.train(CORPUS, 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": ["a"]}, "255 of the 256 bytes have no token"),
        ({"tokens": [chr(i) for i in range(256)] + ["a"]}, "1 tokens occur twice"),
        ({"tokens": [chr(i) for i in range(256)] + ["\u0100"]}, "above U\\+00FF"),
        ({"end": 255}, "end token is 255"),
        ({"end": "512"}, "tokenizer.end"),
        ({"pattern": "("}, "no regular expression"),
    ],
)
def test_damaged_primitives_are_refused(trained: BytePairs, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnisonError, match=message):
        BytePairs.from_dict(trained.to_dict() | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"special_tokens": {}}, "special_tokens"),
        ({"mergeable_ranks": {b"a": 0, b"b": 2}}, "without a gap"),
        ({"mergeable_ranks": {"a": 0}}, "expected bytes"),
        ({"mergeable_ranks": None}, "mergeable_ranks"),
    ],
)
def test_tables_of_another_form_are_refused(meta: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(UnisonError, match=message):
        BytePairs.from_tiktoken(meta | change)


def test_a_whole_word_needs_no_pairs_to_come_from() -> None:
    tokenizer = BytePairs(PATTERN, (*(bytes([byte]) for byte in range(256)), b"abc"), 300)
    assert tokenizer.encode("abc") == [256]
    assert tokenizer.encode("abcd") == list(b"abcd")
