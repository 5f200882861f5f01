"""The GE2E loss against the paper's formulas, written out one by one."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from unison.models.speaker_encoder import Ge2eLoss, equal_error_rate


def vectors(speakers: int, utterances: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(speakers, utterances, 5, generator=generator), dim=-1)


def test_the_loss_is_the_papers() -> None:
    e, loss_fn = vectors(3, 4), Ge2eLoss(7.0, -2.0)
    total = 0.0
    for j in range(3):
        for i in range(4):
            logits = []
            for k in range(3):
                centroid = torch.stack([e[k, m] for m in range(4) if (k, m) != (j, i)]).mean(0)
                logits.append(7.0 * float(F.cosine_similarity(e[j, i], centroid, dim=0)) - 2.0)
            total += -logits[j] + math.log(sum(math.exp(logit) for logit in logits))
    loss, _ = loss_fn(e)
    assert loss.item() == pytest.approx(total / 12, rel=1e-5)


def test_all_of_it_learns() -> None:
    e, loss_fn = vectors(3, 4).requires_grad_(), Ge2eLoss()
    loss_fn(e)[0].backward()
    assert e.grad is not None
    assert e.grad.abs().sum() > 0
    assert loss_fn.scale.grad is not None
    assert loss_fn.scale.grad != 0


def test_speakers_apart_are_told_apart() -> None:
    apart = torch.eye(5)[:3, None].repeat(1, 4, 1)
    loss, similarity = Ge2eLoss()(apart)
    assert loss.item() < 0.001
    assert (similarity.accuracy, similarity.equal_error_rate) == (1.0, 0.0)
    # one of twelve speaks with another's voice
    mixed = apart.clone()
    mixed[0, 0] = apart[1, 0]
    assert Ge2eLoss()(mixed)[1].accuracy == pytest.approx(11 / 12)


@pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
def test_what_can_not_be_compared_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="2 of both"):
        Ge2eLoss()(vectors(*shape))


@pytest.mark.parametrize(
    ("same", "different", "rate"),
    [
        ([0.9, 0.8], [0.1, 0.2, 0.3], 0.0),
        ([0.1, 0.2], [0.8, 0.9], 1.0),
        ([0.9, 0.8, 0.7, 0.2], [0.1, 0.3, 0.15, 0.12], 0.25),
        ([0.5] * 4, [0.5] * 4, 0.5),
    ],
)
def test_the_equal_error_rate(same: list[float], different: list[float], rate: float) -> None:
    assert equal_error_rate(torch.tensor(same), torch.tensor(different)) == pytest.approx(rate)
