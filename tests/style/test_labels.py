from __future__ import annotations

import pytest
import torch

from unison.errors import UnisonError
from unison.style import style_identity
from unison.style.config import CLASSES, LabelStyleConfig, NoStyleConfig
from unison.style.labels import LabelStyle
from unison.style.none import NoStyle

LABELS = {"emotion": ["happy", "sad", "angry"], "speed": ["fast", "slow"]}


@pytest.fixture
def style() -> LabelStyle:
    return LabelStyle(LabelStyleConfig(emotion=8, pitch=4, speed=2, dropout=0.5), LABELS)


def test_vectors_are_the_rows_of_the_tables_side_by_side(style: LabelStyle) -> None:
    labels = torch.tensor([style.ids({"emotion": "sad", "speed": "fast"}), style.ids({})])
    assert labels.tolist() == [[2, 0, 1, 0], [0, 0, 0, 0]]
    vectors = style.eval()(labels)
    tables = dict(style.named_parameters())
    emotion, speed = tables["tables.emotion.weight"], tables["tables.speed.weight"]
    assert emotion.shape == (4, 8)
    assert speed.shape == (3, 2)
    expected = torch.stack([torch.cat([emotion[2], speed[1]]), torch.cat([emotion[0], speed[0]])])
    assert torch.equal(vectors, expected)
    assert style.dim == 10
    assert set(tables) == {"tables.emotion.weight", "tables.speed.weight"}  # no table without labels


def test_unknown_labels_are_named_with_the_nearest(style: LabelStyle) -> None:
    with pytest.raises(UnisonError) as caught:
        style.ids({"emotion": "hapy", "pitch": "high", "speed": "xyz"})
    assert caught.value.problems == [
        "style emotion=hapy: unknown label; nearest: happy",
        "style pitch=high: unknown label; known: none in this corpus",
        "style speed=xyz: unknown label; known: fast, slow",
    ]


def test_labels_are_hidden_in_training_only(style: LabelStyle) -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[1, 0, 1, 0]]).repeat(4000, 1)
    unspecified = style.tables["emotion"].weight[0]
    hidden = (style.train()(labels)[:, :8] == unspecified).all(dim=1).float().mean()
    assert 0.45 < hidden < 0.55
    assert (style.eval()(labels) == style(labels[:1])).all()


def test_every_row_used_is_trained(style: LabelStyle) -> None:
    style.dropout = 0.0
    style.train()(torch.tensor([[1, 0, 2, 0]])).sum().backward()
    gradient = style.tables["emotion"].weight.grad
    assert gradient.sum(1).tolist() == [0, 8, 0, 0]


def test_no_labels_at_all() -> None:
    style = LabelStyle(LabelStyleConfig(), {})
    assert style.dim == 0
    assert style(torch.zeros(3, 4, dtype=torch.int64)).shape == (3, 0)


def test_no_style() -> None:
    style = NoStyle()
    assert style.dim == 0
    assert style.ids({"prompt": "whatever"}) == [0] * len(CLASSES)
    assert style(torch.zeros(3, 4, dtype=torch.int64)).shape == (3, 0)
    assert not list(style.parameters())
    with pytest.raises(UnisonError, match="style emotion: this voice was trained without style labels"):
        style.ids({"emotion": "happy"})


def test_identity() -> None:
    config = LabelStyleConfig(emotion=8, pitch=4, speed=0)
    assert style_identity(config, LABELS) == {"name": "labels", "dims": {"emotion": 8}}
    assert LabelStyle(config, LABELS).dim == 8
    assert style_identity(NoStyleConfig(), LABELS) == {"name": "none"}
