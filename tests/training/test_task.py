"""One training step: who learns from what, accumulation, clipping, averages, precisions, and what is not finite."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from unison.data.batch import Item, collate
from unison.errors import UnisonError
from unison.precision import PRECISIONS

Make = Callable[..., Any]

NO_DROPOUT = [f"model.{name}_dropout=0" for name in ("encoder", "decoder", "duration", "variance", "variance_embed")]
PARTS = ("acoustic", "vocoder", "style", "discriminator")
LEARNS = {
    "acoustic": {"acoustic", "style"},
    "vocoder": {"vocoder", "discriminator"},
    "joint": {"acoustic", "style", "vocoder", "discriminator"},
}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in before if not torch.equal(before[name], after[name])]


def cut(item: Item, tokens: int, frames: int) -> Item:
    hop = len(item.waveform) // len(item.mel)
    return dataclasses.replace(
        item,
        tokens=item.tokens[:tokens],
        mel=item.mel[:frames],
        pitch=item.pitch[:frames],
        energy=item.energy[:frames],
        waveform=item.waveform[: frames * hop],
    )


@pytest.mark.parametrize("stage", LEARNS)
def test_only_the_stages_parts_learn(stepper: Make, stage: str) -> None:
    made = stepper(stage, "style=labels")
    before = {part: made.copy(part) for part in PARTS}
    made.step()
    for part in PARTS:
        if part in LEARNS[stage]:
            assert moved(before[part], made.copy(part)), part
        else:
            assert not moved(before[part], made.copy(part)), part
            assert all(parameter.grad is None for parameter in made.parameters(part).values()), part
    if "style" in LEARNS[stage]:
        assert any("emotion" in name for name in moved(before["style"], made.copy("style")))


def test_each_sides_turn_gives_the_other_no_gradient(stepper: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stepper("joint", "trainer.stages.joint.accumulate=2")
    voice = dict(made.task.voice.named_parameters())
    judge = made.parameters("discriminator")
    backward, turns = made.task._backward, []

    def gradients(parameters: dict[str, Any]) -> dict[str, torch.Tensor | None]:
        return {name: None if p.grad is None else p.grad.clone() for name, p in parameters.items()}

    def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
        return all((a[n] is None and b[n] is None) or (a[n] is not None and torch.equal(a[n], b[n])) for n in a)

    def watch(loss: torch.Tensor) -> None:
        before = gradients(voice), gradients(judge)
        backward(loss)
        after = gradients(voice), gradients(judge)
        turns.append(tuple(not same(a, b) for a, b in zip(before, after, strict=True)))

    monkeypatch.setattr(made.task, "_backward", watch)
    made.step()  # of two accumulated: nothing is cleared yet
    assert turns == [(False, True), (True, False)]


@pytest.mark.parametrize("stage", ["acoustic", "vocoder"])
def test_two_accumulated_batches_are_one_of_twice_the_size(stepper: Make, stage: str) -> None:
    settings = [*NO_DROPOUT, "model.segment_frames=24", "losses.adversarial=0", f"trainer.stages.{stage}.grad_clip=0"]
    once = stepper(stage, *settings)
    twice = stepper(stage, *settings, f"trainer.stages.{stage}.accumulate=2")
    items = [cut(item, 5, 24) for item in once.items()]
    assert {(len(item.tokens), len(item.mel)) for item in items} == {(5, 24)}
    for made in (once, twice):
        vocoder = made.task.voice.model.vocoder
        # the same noise for every clip, whatever the batch
        made.task.voice.model.vocoder.draws = lambda mel, vocoder=vocoder: [vocoder(mel, None, [0] * len(mel))]
    start = once.copy(stage)
    assert not moved(start, twice.copy(stage))
    gradients: list[dict[str, torch.Tensor]] = []
    for made in (once, twice):
        made.optimizers[0].register_step_pre_hook(
            lambda *_, made=made: gradients.append(
                {name: p.grad.clone() for name, p in made.parameters(stage).items() if p.grad is not None}
            )
        )
    once.step(collate(items))
    twice.step(collate(items[:2]))
    assert not moved(start, twice.copy(stage)), "the first of two batches takes no step"
    assert twice.task.step == 0
    twice.step(collate(items[2:]))
    assert (once.task.step, twice.task.step) == (1, 1)
    assert len(gradients) == 2
    scale = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5 * scale, msg=name)


@pytest.mark.parametrize("limit", [0.01, 0.0])
def test_clipping_bounds_the_norm_of_both_sides(stepper: Make, limit: float) -> None:
    made = stepper("joint", f"trainer.stages.joint.grad_clip={limit}")
    norms = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norms.append(math.sqrt(sum(float(g.double().square().sum()) for g in gradients)))

    for optimizer in made.optimizers:
        optimizer.register_step_pre_hook(note)
    made.step()
    discriminator, generator = norms
    if limit:
        assert generator == pytest.approx(limit, rel=1e-3)
        assert discriminator == pytest.approx(limit, rel=1e-3)
        assert made.task._logged["gradient_norm"] > 1, "what is logged is the norm before clipping"
    else:
        assert made.task._logged["gradient_norm"] == pytest.approx(generator, rel=1e-4)


def test_learning_rate_reaches_every_optimizer(stepper: Make) -> None:
    stage = "trainer.stages.joint"
    made = stepper(
        "joint", f"{stage}.steps=6", f"{stage}.warmup_steps=2", f"{stage}.final_lr=0.5", f"{stage}.learning_rate=0.01"
    )
    rates = []
    for _ in range(6):
        made.step()
        rates.append([group["lr"] for optimizer in made.optimizers for group in optimizer.param_groups])
    cosine = [0.5 + 0.25 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    assert rates == [pytest.approx([0.01 * share] * 2) for share in (0.5, 1.0, *cosine)]


def test_binarisation_sets_in_and_rises(stepper: Make) -> None:
    made = stepper("acoustic", "losses.binarization_start=1", "losses.binarization_warmup=2", "losses.binarization=3")
    shares = []
    for _ in range(4):
        step = made.task.step
        made.step()
        logged = made.task._logged
        weights = vars(made.task.config.losses)
        others = sum(
            weights[name] * logged[name] for name in ("duration", "pitch", "energy", "forward_sum", "decoder_mel")
        )
        shares.append((logged["loss"] - others) / logged["binarization"])
        assert made.task.step == step + 1
    assert shares == pytest.approx([0, 1.5, 3, 3], abs=1e-4)


def test_adversarial_start(stepper: Make) -> None:
    made = stepper("vocoder", "losses.adversarial_start=2")
    start = made.copy("discriminator")
    for _ in range(2):
        made.step()
        assert "adversarial" not in made.task._logged
    assert not moved(start, made.copy("discriminator"))
    made.step()
    assert made.task._logged["adversarial"] > 0
    assert moved(start, made.copy("discriminator"))


@pytest.mark.parametrize("stage", ["vocoder", "joint"])
def test_clips_shorter_than_the_segment(stepper: Make, stage: str) -> None:
    made = stepper(stage, "model.segment_frames=64", "losses.stft=1")
    some = collate(made.items())
    assert int(some.mel_lengths.min()) < 64 < int(some.mel_lengths.max())
    made.step(some)
    all_shorter = collate([cut(item, 8, 10 + i) for i, item in enumerate(made.items())])
    before = made.copy("vocoder")
    made.step(all_shorter)
    assert moved(before, made.copy("vocoder"))
    assert all(math.isfinite(value) for value in made.task._logged.values())
    assert made.task._logged["stft"] > 0


def test_padding_of_a_short_clip_is_silence(stepper: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vocoder learns silence there, from a silent mel: never another clip's sound."""
    made = stepper("vocoder", "losses.adversarial=0", "model.segment_frames=16")
    seen = []
    made.task.voice.model.vocoder.input.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    short, long = (cut(item, 8, frames) for item, frames in zip(made.items(2), (10, 30), strict=True))
    made.step(collate([short, long]))
    floor = math.log(made.task.config.audio.log_floor)
    assert seen[0].shape == (2, 80, 16)
    torch.testing.assert_close(seen[0][0, :, :10], short.mel.T)
    assert (seen[0][0, :, 10:] == floor).all()
    at = [start for start in range(15) if torch.equal(seen[0][1], long.mel.T[:, start : start + 16])]
    assert len(at) == 1, "a piece of the long clip"


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-true", torch.bfloat16)])
def test_average_of_the_weights(stepper: Make, precision: str, dtype: torch.dtype) -> None:
    """Against the definition: warmed-up decay, the first step taken as it is, in float32 whatever the weights are."""
    made = stepper("acoustic", f"precision={precision}", "trainer.ema.decay=0.2")
    name = "speakers.weight"
    average = None
    for n in range(4):
        made.step()
        weights = made.copy("acoustic")[name]
        assert weights.dtype == dtype
        decay = 0.0 if n == 0 else min(0.2, (1 + n) / (10 + n))
        average = weights.double() if average is None else decay * average + (1 - decay) * weights.double()
    found = made.task.speaking_voice.model.acoustic.speakers.weight
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), average, rtol=1e-5, atol=1e-6)
    vocoder = made.task.policy.cast(made.task.speaking_voice.model.vocoder)
    assert not moved(made.copy("vocoder"), dict(vocoder.named_parameters()))


def test_a_stage_begins_at_the_average(stepper: Make) -> None:
    made = stepper("acoustic", "trainer.ema.decay=0.9")
    for _ in range(3):
        made.step()
    spoken = {name: value.clone() for name, value in made.task.speaking_voice.state_dict().items()}
    assert moved(spoken, made.task.voice.state_dict())
    made.task.start_stage("joint")
    assert not moved(spoken, made.task.voice.state_dict())
    assert (made.task.step, made.task.stage_step) == (3, 0)


@pytest.mark.parametrize("stage", LEARNS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_in_every_stage(stepper: Make, precision: str, stage: str) -> None:
    made = stepper(stage, f"precision={precision}", "losses.stft=1")
    expected = {"16-true": torch.float16, "bf16-true": torch.bfloat16}.get(precision, torch.float32)
    parts = LEARNS[stage] - {"style"}
    before = {part: made.copy(part) for part in parts}
    for _ in range(2):
        made.step()
    for part in parts:
        assert moved(before[part], made.copy(part)), part
        for name, parameter in made.parameters(part).items():
            assert parameter.dtype == (torch.float32 if "norm" in name else expected), name
            assert parameter.isfinite().all(), name
    assert all(math.isfinite(value) for value in made.task._logged.values())


@pytest.mark.parametrize("part", ["mel", "waveform"])
def test_a_loss_that_is_not_finite_stops_with_names(stepper: Make, part: str) -> None:
    made = stepper("acoustic" if part == "mel" else "vocoder")
    made.step()
    before = {name: made.copy(name) for name in PARTS}
    items = made.items()
    getattr(items[1], part)[:] = math.nan
    with pytest.raises(UnisonError) as caught:
        made.step(collate(items))
    (told,) = caught.value.problems
    assert "is not finite (nan) at step 1 (the" in told
    assert all(item.key in told for item in items)
    assert "largest gradients: " in told
    assert not any(moved(before[name], made.copy(name)) for name in PARTS), "nothing has learnt from it"


def test_a_gradient_that_is_not_finite_is_named(stepper: Make) -> None:
    """Where the loss is finite, the guilty parameter stands first, and the others show their own norms."""
    made = stepper("acoustic")
    made.task.voice.model.acoustic.to_mel.weight.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(UnisonError) as caught:
        made.step()
    largest = caught.value.problems[0].partition("largest gradients: ")[2]
    assert largest.startswith(("model.acoustic.to_mel.weight inf", "model.acoustic.to_mel.weight nan"))
    assert "nan" not in largest.partition(",")[2].partition(". The")[0]


@pytest.mark.parametrize(
    ("stage", "layer", "kind"),
    [
        ("acoustic", "voice.model.acoustic.decoder.blocks.0.ffn_in", "TimeConv"),
        ("vocoder", "voice.model.vocoder.blocks.0.inner", "Linear"),
        ("joint", "discriminator.periods.0.output", "ParametrizedConv2d"),
    ],
)
def test_where_a_loss_begins_not_to_be_finite_is_named(stepper: Make, stage: str, layer: str, kind: str) -> None:
    made = stepper(stage, "precision=16-true", "losses.adversarial_start=0")
    with torch.no_grad():
        made.task.get_submodule(layer).bias.fill_(math.inf)
    with pytest.raises(UnisonError) as caught:
        made.step()
    told = caught.value.problems[0].partition("; it begins where ")[2]
    assert told.startswith(f"{layer} ({kind}) gives float16 values that are not finite")
    assert not any(module._forward_hooks for module in made.task.modules())


def test_the_loss_scaler_skips_steps_that_overflow(stepper: Make) -> None:
    made = stepper("joint", "precision=16-mixed", *NO_DROPOUT, ran="16-mixed")
    assert made.task.scaler.is_enabled()
    made.task.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    before = {part: made.copy(part) for part in LEARNS["joint"]}
    made.step()
    assert not any(moved(before[part], made.copy(part)) for part in before), "an overflow is no step"
    assert made.task.scaler.get_scale() == 2.0**119
    made.task.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    made.step()
    assert all(moved(before[part], made.copy(part)) for part in ("acoustic", "vocoder", "discriminator"))


def test_one_scale_for_one_step(stepper: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of accumulated batches and of both sides are of one scale; it changes between steps alone."""
    made = stepper("vocoder", "precision=16-mixed", "trainer.stages.vocoder.accumulate=2", ran="16-mixed")
    made.task.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    backward, scales = made.task._backward, []

    def note(loss: torch.Tensor) -> None:
        backward(loss)
        scales.append(made.task.scaler.get_scale())

    monkeypatch.setattr(made.task, "_backward", note)
    for _ in range(4):
        made.step()
    assert scales == [4.0] * 4 + [8.0] * 4
