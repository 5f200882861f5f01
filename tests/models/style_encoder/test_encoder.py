"""The style encoder reads a prompt the same alone and among others, whatever it holds."""

from __future__ import annotations

import pytest
import torch

from unison.models.style_encoder import StyleEncoder, StyleEncoderConfig
from unison.models.style_encoder.encoder import SubwordReader
from unison.models.style_encoder.reading import folded

LABELS = {"emotion": ["happy"], "pitch": ["low", "high"], "speed": ["slow", "fast"], "energy": []}
CONFIG = StyleEncoderConfig(hidden=16, layers=1, heads=2, ffn=16, dim=8, max_length=20)


@pytest.fixture
def encoder() -> StyleEncoder:
    torch.manual_seed(0)
    # bytes stand for subwords
    return StyleEncoder(SubwordReader(CONFIG, lambda text: list(text.encode()), 256), LABELS).eval()


def test_alone_as_among_others(encoder: StyleEncoder) -> None:
    texts = ["fast", "speak slowly now", "快", "a"]
    together = encoder(texts)
    assert together.shape == (4, 8)
    assert together.abs().max() < 1
    for text, vector in zip(texts, together, strict=True):
        torch.testing.assert_close(encoder([text])[0], vector, atol=1e-6, rtol=1e-5)
        assert torch.equal(encoder.encode([text])[0], encoder.encode(texts)[texts.index(text)])


def test_form_does_not_matter(encoder: StyleEncoder) -> None:
    first, *others = encoder(["speak fast", "SPEAK  Fast ", "ｓｐｅａｋ fast"])
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-6, rtol=1e-5)
    assert folded("Ｆａｓｔ\ud83d  X") == "fast\ufffd x"


def test_any_text_is_read(encoder: StyleEncoder) -> None:
    texts = ["", " \n", "😀", "\ud83d", "ж" * 500, "fast" * 500]
    vectors = encoder.encode(texts)
    assert vectors.isfinite().all()
    assert not vectors[:2].any(), "nothing is asked for"
    assert torch.equal(vectors[5], encoder.encode([("fast" * 500)[: CONFIG.max_length]])[0]), "what is beyond is cut"
    assert encoder.encode([]).shape == (0, 8)


def test_heads_say_what_is_asked_for(encoder: StyleEncoder) -> None:
    with torch.no_grad():
        encoder.heads["speed"].bias[2] = 100.0
    read = encoder.read("whatever")
    assert list(read) == list(LABELS)
    assert next(iter(read["speed"])) == "fast"
    assert read["speed"]["fast"] == pytest.approx(1)
    assert set(read["pitch"]) == {"", "low", "high"}
    for shares in read.values():
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert encoder.read(" ") == {name: {"": 1.0} for name in LABELS}


def test_subwords_are_hidden_in_training_only(encoder: StyleEncoder) -> None:
    seen: list[torch.Tensor] = []
    encoder.reader.embedding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    encoder.train()(["abcdefghijklmnopqrst"] * 100)
    encoder.eval()(["abcdefghijklmnopqrst"] * 100)
    shares = [float((ids == 256).float().mean()) for ids in seen]
    assert 0.005 < shares[0] < 0.04
    assert shares[1] == 0
