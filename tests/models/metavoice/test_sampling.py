"""Sampling: the reference's distributions, and draws that follow them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from unison.models.metavoice import probabilities
from unison.models.metavoice.sampling import Sampler, Settings, draw

CPU = torch.device("cpu")


def test_the_references_probabilities(golden: dict[str, Any]) -> None:
    logits = golden["sampling"]["logits"]
    assert len(golden["sampling"]["probs"]) == 4
    for key, expected in golden["sampling"]["probs"].items():
        torch.testing.assert_close(probabilities(logits, *json.loads(key)), expected, atol=1e-5, rtol=0)


def test_what_is_kept() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    torch.testing.assert_close(probabilities(logits, top_k=2), torch.tensor([0.625, 0.375, 0, 0]))
    torch.testing.assert_close(probabilities(logits, top_p=0.7), torch.tensor([0.625, 0.375, 0, 0]))
    torch.testing.assert_close(probabilities(logits, top_p=0.01), torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(probabilities(logits, top_p=1.0, top_k=9), logits.exp())
    torch.testing.assert_close(probabilities(logits, temperature=0), torch.tensor([1.0, 0, 0, 0]))
    tied = torch.tensor([2.0, 1.0, 1.0, 0.0])
    assert probabilities(tied, top_k=2).count_nonzero() == 3


def test_it_is_done_in_float32() -> None:
    logits = torch.randn(2, 2562, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = probabilities(logits, 1.0, 0.95)
    assert found.dtype == torch.float32
    assert torch.equal(found, probabilities(logits.float(), 1.0, 0.95))


def drawn(settings: list[Settings], logits: torch.Tensor, steps: int) -> torch.Tensor:
    """Tokens [steps, B] from the same logits [B, V] at every step."""
    sampler = Sampler(settings, logits.shape[-1], CPU)
    noise = sampler.draw(steps)
    assert noise is not None
    return torch.stack([sampler.next(logits, None, row, None) for row in noise])


def test_draws_follow_the_probabilities() -> None:
    logits = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    tokens = drawn([Settings(temperature=0.7, top_p=0.95, top_k=3, seed=3)], logits, 4000)
    shares = tokens.flatten().bincount(minlength=4) / len(tokens)
    torch.testing.assert_close(shares, probabilities(logits[0], 0.7, 0.95, 3), atol=0.03, rtol=0)
    assert shares[3] == 0


def test_a_rows_draws_are_its_own() -> None:
    """The same alone and in a batch, however many are drawn at a time; another seed, other draws."""
    settings = [Settings(seed=1, temperature=0), Settings(seed=2, top_p=None), Settings(seed=3, top_k=5, top_p=0.5)]
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    together = drawn(settings, logits, 40)
    assert torch.equal(together[:, 0], logits[0].argmax().expand(40))
    for i in (1, 2):
        assert torch.equal(drawn([settings[i]], logits[i : i + 1], 40)[:, 0], together[:, i])
    halves = Sampler(settings, 50, CPU)
    for part in together.split(8):
        noise = halves.draw(8)
        assert noise is not None
        assert torch.equal(torch.stack([halves.next(logits, None, row, None) for row in noise]), part)
    assert not torch.equal(drawn([Settings(seed=7, top_p=None)], logits[1:2], 40)[:, 0], together[:, 1])


def test_a_draw_of_zero_does_not_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 has exponential draws of exactly 0: such a one must not call up a token that never comes."""
    sampler = Sampler([Settings(top_p=None)], 3, CPU)
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self, **_: self.copy_(torch.tensor([1.0, 1.0, 0.0])))
    noise = sampler.draw(1)
    assert noise is not None
    assert sampler.next(torch.tensor([[0.0, -1.0, -60.0]]), None, noise[0], None).tolist() == [0]


def test_guidance_leads_away_from_the_row_without_a_speaker() -> None:
    sampler = Sampler([Settings(guidance=3, temperature=0), Settings(guidance=1, temperature=0)], 3, CPU)
    with_speaker, without = torch.tensor([[1.0, 1.2, 0.0], [0.0, 0.0, 5.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    # 3 c - 2 u: [3, 1.6, 0]
    logits = torch.cat((with_speaker, without))
    assert sampler.next(logits, torch.tensor([0]), None, None).tolist() == [0, 2]
    assert sampler.next(with_speaker, None, None, None).tolist() == [1, 2]
    allowed = torch.tensor([[False, True, True], [True, True, False]])
    assert sampler.next(logits, torch.tensor([0]), None, allowed).tolist() == [1, 0]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": 0}, {"guidance": float("nan")}]
)
def test_settings_that_mean_nothing(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.*: expected guidance"):
        Settings(**wrong)


def test_more_of_the_likeliest_than_there_are() -> None:
    logits = torch.randn(1, 5)
    whole, most = (drawn([Settings(top_p=None, top_k=top_k)], logits, 20) for top_k in (None, 10**30))
    assert torch.equal(whole, most)


def test_many_draws_at_once() -> None:
    logits = torch.tensor([0.6, 0.3, 0.1]).log().expand(4000, 3)
    tokens = draw(logits, 1.0, None, None, seed=1)
    torch.testing.assert_close(tokens.bincount() / 4000, logits[0].exp(), atol=0.03, rtol=0)
    assert torch.equal(tokens, draw(logits, 1.0, None, None, seed=1))
    assert not torch.equal(tokens, draw(logits, 1.0, None, None, seed=2))
    assert draw(logits, 0.0, None, None, seed=1).unique().tolist() == [0]
