"""The non-causal model against the reference, and codes of utterances of any lengths."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unison.models.metavoice import SecondStage, SecondStageConfig


@pytest.fixture
def model() -> SecondStage:
    """A small one that does not see padding."""
    torch.manual_seed(0)
    config = SecondStageConfig(2, 2, 16, max_positions=40, given=2, predicted=3, text_tokens=5)
    return SecondStage(config, codebook_size=9, speaker_dim=4).eval()


def utterances(model: SecondStage) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Two texts, and their codes."""
    codes = [torch.randint(0, 9, (2, frames), generator=torch.Generator().manual_seed(frames)) for frames in (12, 20)]
    return [torch.tensor(model.layout.text(text)) for text in ([1, 2, 3], [4])], codes


def test_parameters_at_the_released_size() -> None:
    with torch.device("meta"):
        model = SecondStage(SecondStageConfig(), codebook_size=1024, speaker_dim=256)
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    assert sum(counts.values()) - counts["positions.weight"] == 14_065_920


@torch.inference_mode()
def test_the_references_logits(second: SecondStage, golden: dict[str, Any]) -> None:
    expected = golden["second"]["logits"]
    found = second.logits(golden["second"]["input"], golden["speaker"]["embedding"][None])
    assert found.shape == (6, 1, 128, 1025)
    assert float((found[:, 0, :30] - expected).abs().max() / expected.abs().max()) < 1e-4


def test_the_references_input(second: SecondStage, golden: dict[str, Any]) -> None:
    assert second.tokenizer is not None
    ids = second.tokenizer.encode(golden["text"])
    assert ids == golden["second"]["token_ids"].tolist()
    found = second.sequence(torch.tensor(ids), golden["second"]["codes"])
    assert torch.equal(found, golden["second"]["input"][0, :, :30])


def test_a_released_model_sees_its_window(second: SecondStage, golden: dict[str, Any]) -> None:
    """Its likeliest codes are those of the whole window, as the reference computes them."""
    codes, given = golden["second"]["codes"], golden["second"]["token_ids"]
    (found,) = second.complete([given], [codes], golden["speaker"]["embedding"][None], [0], temperature=0)
    expected = golden["second"]["logits"][:, len(given) : len(given) + codes.shape[1], :1024].argmax(-1)
    assert torch.equal(found, torch.cat((codes, expected)))


@torch.inference_mode()
def test_padding_is_not_seen(model: SecondStage) -> None:
    texts, codes = utterances(model)
    short = model.sequence(texts[0], codes[0])[None]
    padded = torch.nn.functional.pad(short, (0, 7), value=model.layout.end)
    length = torch.tensor([short.shape[2]])
    torch.testing.assert_close(model(padded, None, length)[:, :, : short.shape[2]], model(short))
    assert not torch.allclose(model(padded)[:, :, : short.shape[2]], model(short), atol=1e-3)


def test_alone_or_in_a_batch(model: SecondStage) -> None:
    texts, codes = utterances(model)
    speakers, seeds = torch.randn(2, 4), [1, 2]
    together = model.complete(texts, codes, speakers, seeds)
    for i in range(2):
        (alone,) = model.complete(texts[i : i + 1], codes[i : i + 1], speakers[i : i + 1], seeds[i : i + 1])
        assert torch.equal(alone, together[i])
        assert torch.equal(alone[:2], codes[i])
        assert alone.shape == (5, codes[i].shape[1])
        assert int(alone.max()) < 9, "no frame has the end's code"
    (other,) = model.complete(texts[:1], codes[:1], speakers[:1], [3])
    assert not torch.equal(other, together[0])


def test_it_sees_both_ways(model: SecondStage) -> None:
    texts, codes = utterances(model)
    whole = model.sequence(texts[0], codes[0])[None]
    changed = whole.clone()
    changed[0, 0, -2] = (changed[0, 0, -2] + 1) % 9
    assert not torch.allclose(model(changed)[:, :, 0], model(whole)[:, :, 0])


def test_a_window_that_is_too_short(model: SecondStage) -> None:
    texts, codes = utterances(model)
    with pytest.raises(ValueError, match="43 positions; the model has 40"):
        model.complete(texts[1:], [codes[1].repeat(1, 2)], None, [0])


def test_every_parameter_learns(model: SecondStage) -> None:
    texts, codes = utterances(model)
    model.train()(model.sequence(texts[0], codes[0])[None], torch.randn(1, 4)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
