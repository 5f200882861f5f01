"""Discriminators and optimizers of the reference: they judge, and learn on, as they did there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.convert.conftest import SCALE, ReferenceJudges, moments
from unison.convert import going_on
from unison.convert.emotivoice import build
from unison.convert.names import discriminator_names, generator_names, taken
from unison.convert.sizes import Sizes, read_sizes
from unison.models.emotivoice.config import EmotiVoiceConfig
from unison.models.emotivoice.model import EmotiVoice
from unison.vocoders.config import DiscriminatorConfig, HifiGanConfig
from unison.vocoders.discriminators import Discriminator


@pytest.fixture
def sizes(golden: dict[str, Any]) -> Sizes:
    return read_sizes(golden["config"])


@pytest.fixture
def model(sizes: Sizes) -> EmotiVoice:
    return build(sizes, 40, 7)


def learn(judges: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[Tensor]) -> None:
    """One step of a least-squares GAN's discriminators; `judges` gives logits."""
    real, fake = next(batches), next(batches)
    loss = sum((1 - logits).square().mean() for logits in judges(real))
    loss = loss + sum(logits.square().mean() for logits in judges(fake))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


class Logits(nn.Module):
    """Ours, without their feature maps."""

    def __init__(self, judges: Discriminator) -> None:
        super().__init__()
        self.judges = judges

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.judges(x)[0]


def adam(judges: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(judges.parameters(), 1e-3, betas=(0.5, 0.9))


def batches(seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn(2, 1, 2000, generator=generator)


def assert_alike(ours: nn.Module, theirs: nn.Module, spectral: float) -> None:
    """The same logits; `spectral` is what the judge may differ by whose weights are spectrally normalised.

    torch's two ways of doing that iterate towards the same norm from the two ends of a matrix.
    """
    waveform = next(batches(9))
    with torch.no_grad():
        pairs = list(zip(ours.eval()(waveform), theirs.eval()(waveform), strict=True))
    ours.train(), theirs.train()
    assert len(pairs) == 8
    for i, (mine, their) in enumerate(pairs):
        share = spectral if i == 5 else 1e-5
        assert (mine - their).abs().max() <= share * their.abs().max()


def test_they_learn_on_as_they_would_have_there(model: EmotiVoice, sizes: Sizes) -> None:
    torch.manual_seed(0)
    theirs = ReferenceJudges(SCALE)
    their_adam = adam(theirs)
    for seed in (1, 2):
        learn(theirs, their_adam, batches(seed))
    with torch.no_grad():
        for _ in range(60):
            theirs(next(batches(3)))  # towards the norm
    released = {
        "discriminator": copy.deepcopy(theirs.state_dict()),
        # in the reference's order
        "optim_g": moments(model.state_dict()[n] for n in generator_names(model.state_dict(), sizes.vocoder)),
        "optim_d": copy.deepcopy(their_adam.state_dict()),
        "steps": 2,
        "epoch": 0,
    }
    entries = going_on.from_reference(released, model, sizes.vocoder)
    ours = Discriminator(going_on.JUDGES)
    ours.load_state_dict({n.removeprefix("discriminator."): t for n, t in entries["state_dict"].items()})
    logits = Logits(ours)
    our_adam = adam(logits)
    our_adam.load_state_dict(entries["optimizer_states"][1])
    assert_alike(logits, theirs, 0.0)
    before = next(iter(ours.parameters())).clone()
    for seed in (3, 4):
        learn(theirs, their_adam, batches(seed))
        learn(logits, our_adam, batches(seed))
    assert not torch.equal(before, next(iter(ours.parameters())))
    assert_alike(logits, theirs, 2e-2)
    expected = ours.state_dict()
    found = taken(theirs.state_dict(), discriminator_names(expected), expected)
    for name, tensor in expected.items():
        if not name.startswith("scales.0"):
            torch.testing.assert_close(tensor, found[name], atol=1e-5, rtol=1e-4, msg=name)


def test_what_no_do_file_can_hold(model: EmotiVoice, sizes: Sizes) -> None:
    released = {
        "discriminator": ReferenceJudges(SCALE).state_dict(),
        "optim_g": moments(model.state_dict()[n] for n in generator_names(model.state_dict(), sizes.vocoder)),
        "optim_d": moments(parameter.detach() for parameter in ReferenceJudges(SCALE).parameters()),
        "steps": 2,
        "epoch": 0,
    }
    payload = going_on.from_reference(released, model, sizes.vocoder)
    assert going_on.to_reference(payload, model, sizes.vocoder, going_on.JUDGES) is not None
    others = DiscriminatorConfig(channel_scale=SCALE, periods=[2, 3])
    assert going_on.to_reference(payload, model, sizes.vocoder, others) is None
    acoustic = payload["optimizer_states"][0]
    for optimizers in ([], [acoustic], [payload["optimizer_states"][1]] * 2):
        partial = payload | {"optimizer_states": optimizers}
        assert going_on.to_reference(partial, model, sizes.vocoder, going_on.JUDGES) is None


def test_the_released_size(golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**golden["config"], "model": dict(golden["config"]["model"])}
    wide = ("encoder_n_hidden", "decoder_n_hidden", "variance_n_hidden")
    config["model"] |= dict.fromkeys(wide, 384) | dict.fromkeys(("encoder_n_heads", "decoder_n_heads"), 8)
    config["model"] |= dict.fromkeys(("encoder_n_layers", "decoder_n_layers"), 4)
    config["model"] |= {"bert_embedding": 768, "upsample_initial_channel": 512}
    sizes = read_sizes(config)
    assert sizes.model == EmotiVoiceConfig(max_duration=10**9)
    assert sizes.vocoder == HifiGanConfig()
    assert sizes.learning_rate == 1.25e-5
    with torch.device("meta"):
        model = build(sizes, n_symbols=502, n_speakers=2014)
        judges = Discriminator(DiscriminatorConfig())
        theirs = ReferenceJudges()
    assert sum(parameter.numel() for parameter in model.parameters()) == 53_277_015
    names = list(generator_names(model.state_dict(), sizes.vocoder).values())
    assert len(names) == 422
    assert names[0] == "am.encoder.embed.0.alpha"
    assert names[-1] == "generator.conv_post.weight_v"
    assert sum(parameter.numel() for parameter in judges.parameters()) == 70_724_591
    expected = {ours: judges.state_dict()[ours].shape for ours in judges.state_dict()}
    of_judges = discriminator_names(expected)
    assert list(of_judges.values()) == list(theirs.state_dict())
    assert len(of_judges) == 170
    assert {of_judges[ours]: shape for ours, shape in expected.items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }
