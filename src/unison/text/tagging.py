"""Parts of speech of English words, by the conditional random field that the ``gruut-lang-en`` package carries."""

from __future__ import annotations

import base64
import string
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Any

_PUNCTUATION = frozenset(string.punctuation)


def tags(words: Sequence[str]) -> list[str]:
    """The Penn Treebank tags (VB, VBD, NN, JJ …) of the words and punctuation marks of one sentence."""
    found: list[str] = _tagger().tag(_features(words))
    return found


@cache
def _tagger() -> Any:
    import pycrfsuite

    tagger = pycrfsuite.Tagger()
    with as_file(files("gruut_lang_en") / "pos" / "model.crf") as path:
        tagger.open(str(path))
    return tagger


def _features(words: Sequence[str]) -> list[dict[str, float]]:
    """The features that the model was trained on: each word's, and those of two neighbours on either side."""
    own = [_of_word(word) for word in words]
    features = [dict(one) for one in own]
    for i in range(len(words)):
        for shift in (-2, -1, 1, 2):
            if 0 <= i + shift < len(words):
                features[i] |= {f"{shift:+d}:{name}": value for name, value in own[i + shift].items()}
    if features:
        features[0]["BOS"] = features[-1]["EOS"] = 1.0
    return features


def _of_word(word: str) -> dict[str, float]:
    return {
        "bias": 1.0,
        f"word:{base64.b64encode(word.encode()).decode()}": 1.0,
        "len(word)": float(len(word)),
        "word.ispunctuation": float(_PUNCTUATION.issuperset(word)),
        "word.isdigit()": float(word.isdigit()),
        f"word[:2]:{word[:2]}": 1.0,
        f"word[:3]:{word[:3]}": 1.0,
        f"word[-2:]:{word[-2:]}": 1.0,
        f"word[-3:]:{word[-3:]}": 1.0,
    }
