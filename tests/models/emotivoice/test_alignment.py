from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unison.models.emotivoice import alignment as al


def log_attention(batch: int, frames: int, tokens: int, seed: int = 0) -> Tensor:
    scores = torch.randn(batch, frames, tokens, generator=torch.Generator().manual_seed(seed))
    return scores.log_softmax(-1)


def test_prior_is_the_beta_binomial_formula() -> None:
    def log_beta(x: float, y: float) -> float:
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    for frames, tokens in ((1, 1), (5, 3), (40, 11)):
        prior = al.beta_binomial_log_prior(frames, tokens)
        for f, k in itertools.product(range(frames), range(tokens)):
            a, b = f + 1, frames - f
            expected = math.log(math.comb(tokens, k)) + log_beta(k + a, tokens - k + b) - log_beta(a, b)
            assert prior[f, k].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_prior_is_cached_with_a_bound() -> None:
    assert al.beta_binomial_log_prior(6, 4) is al.beta_binomial_log_prior(6, 4)
    assert al.beta_binomial_log_prior.cache_info().maxsize is not None


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (4, 1), (5, 5), (7, 4), (9, 3)])
def test_search_finds_the_best_of_all_paths(frames: int, tokens: int) -> None:
    log_p = log_attention(3, frames, tokens, seed=frames)
    lengths = torch.tensor([frames] * 3)
    path = al.monotonic_alignment(log_p, torch.tensor([tokens] * 3), lengths)
    for item, found in zip(log_p, path, strict=True):
        best = max(
            (
                torch.repeat_interleave(torch.arange(tokens), torch.tensor(durations))
                for durations in itertools.product(range(1, frames + 1), repeat=tokens)
                if sum(durations) == frames
            ),
            key=lambda candidate: item[torch.arange(frames), candidate].sum().item(),
        )
        assert torch.equal(found, best)


def test_search_in_a_padded_batch_is_the_search_alone() -> None:
    sizes = [(12, 5), (7, 7), (3, 1), (20, 9)]
    batch = torch.full((4, 20, 9), 5.0)
    for i, (frames, tokens) in enumerate(sizes):
        batch[i, :frames, :tokens] = log_attention(1, frames, tokens, seed=i)[0]
    token_lengths, mel_lengths = torch.tensor([t for _, t in sizes]), torch.tensor([f for f, _ in sizes])
    path = al.monotonic_alignment(batch, token_lengths, mel_lengths)
    durations = al.durations_of(path, mel_lengths, 9)
    for i, (frames, tokens) in enumerate(sizes):
        single = batch[i : i + 1, :frames, :tokens]
        alone = al.monotonic_alignment(single, token_lengths[i : i + 1], mel_lengths[i : i + 1])
        assert torch.equal(path[i, :frames], alone[0])
        assert torch.equal(durations[i], torch.bincount(alone[0], minlength=9))
    assert torch.equal(durations.sum(1), mel_lengths)


def test_an_item_with_fewer_frames_than_symbols_is_named() -> None:
    with pytest.raises(ValueError, match="item 1 has 4 frames for 5 symbols"):
        al.monotonic_alignment(torch.zeros(2, 8, 5), torch.tensor([5, 5]), torch.tensor([8, 4]))


def test_token_means_ignore_padding() -> None:
    path = torch.tensor([[0, 0, 1, 0], [0, 1, 1, 2]])
    lengths = torch.tensor([3, 4])
    durations = al.durations_of(path, lengths, 3)
    values = torch.tensor([[1.0, 3.0, 5.0, 99.0], [2.0, 4.0, 8.0, -1.0]])
    assert al.token_means(values, path, durations, lengths).tolist() == [[2.0, 5.0, 0.0], [2.0, 6.0, -1.0]]


def test_binarisation_loss_is_the_mean_of_the_items() -> None:
    log_p = log_attention(2, 6, 3)
    path, lengths = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 2, 2, 0, 0]]), torch.tensor([6, 4])
    alone = [-log_p[i, torch.arange(n), path[i, :n]].mean() for i, n in enumerate(lengths)]
    torch.testing.assert_close(al.binarisation_loss(log_p, path, lengths), torch.stack(alone).mean())


def test_forward_sum_is_the_mean_of_single_ctc_losses_and_its_gradient_is_finite() -> None:
    log_p = log_attention(3, 10, 6)
    token_lengths, mel_lengths = torch.tensor([6, 4, 1]), torch.tensor([10, 7, 3])
    log_p[1, :, 4:] = al.PADDED
    log_p.requires_grad_()
    expected = []
    for item, tokens, frames in zip(log_p, token_lengths, mel_lengths, strict=True):
        scores = F.pad(item[:frames, :tokens], (1, 0), value=-1.0).log_softmax(-1)[:, None]
        expected.append(F.ctc_loss(scores, torch.arange(1, tokens + 1)[None], frames[None], tokens[None]))
    loss = al.forward_sum_loss(log_p, token_lengths, mel_lengths)
    torch.testing.assert_close(loss, torch.stack(expected).mean())
    loss.backward()
    assert log_p.grad is not None
    assert log_p.grad.isfinite().all()
    assert not log_p.grad[2, 3:].any()


def test_forward_sum_counts_all_paths() -> None:
    """Against the sum over alignments, enumerated: each frame emits its symbol or a blank between symbols."""
    log_p = log_attention(1, 4, 2)
    scores = F.pad(log_p[0], (1, 0), value=-1.0).log_softmax(-1)
    total = 0.0
    for labels in itertools.product(range(3), repeat=4):
        collapsed = [label for label, _ in itertools.groupby(labels) if label]
        if collapsed == [1, 2]:
            total += math.exp(sum(scores[f, label].item() for f, label in enumerate(labels)))
    loss = al.forward_sum_loss(log_p, torch.tensor([2]), torch.tensor([4]))
    assert loss.item() == pytest.approx(-math.log(total) / 2, rel=1e-5)
