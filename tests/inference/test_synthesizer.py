from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unison
from unison.contract.checkpoint import AVERAGE_PREFIX, VOICE_PREFIX, read_checkpoint, resolve_ckpt
from unison.errors import UnisonError
from unison.inference.audio import Audio, pause_after
from unison.inference.emotivoice import SENTENCE_CHARS, EmotiVoiceSynthesizer
from unison.inference.request import Request
from unison.inference.synthesizer import choose_device, load
from unison.precision import PRECISIONS
from unison.text.sentences import sentences
from unison.vocoders.griffinlim import GriffinLim
from unison.vocoders.istft import IstftHead

REQUESTS = [
    Request("one two three four", "anna"),
    Request("six", "bert"),
    Request("seven eight. nine, one!", "anna", speed=1.5),
    Request("zero", "anna", seed=3),
    Request("six", "anna", speed=0.5),
]


def spoken(voice: EmotiVoiceSynthesizer, requests: Sequence[Request], **how: float) -> list[np.ndarray]:
    return [audio.samples for audio in voice.synthesize(requests, **how)]  # type: ignore[arg-type]


@pytest.mark.parametrize("vocoder", [None, "griffinlim"])
def test_a_batch_speaks_as_each_alone_and_in_order(run_folder: Path, vocoder: str | None) -> None:
    voice = load(run_folder, "cpu", "32-true", vocoder)
    tolerance = 1e-4 if vocoder is None else 1e-2  # Griffin-Lim's sixty accelerated iterations blow rounding up
    alone = [spoken(voice, [request])[0] for request in REQUESTS]
    assert len({len(samples) for samples in alone}) > 2
    for batch_size in (2, 16):
        for one, other in zip(alone, spoken(voice, REQUESTS, batch_size=batch_size), strict=True):
            assert one.shape == other.shape
            assert one.dtype == other.dtype == np.float32
            np.testing.assert_allclose(one, other, atol=tolerance)
    assert len(alone[1]) != len(alone[4])
    assert np.abs(alone[1][: len(alone[0])]).max() > 1e-4


def test_each_request_is_given_once_as_soon_as_it_is_done(voice: EmotiVoiceSynthesizer) -> None:
    steps: list[int] = []
    seen: list[tuple[int, int]] = []
    for index, _ in voice.each(REQUESTS, batch_size=1, on_progress=lambda done, total: steps.append(done)):
        seen.append((index, len(steps)))
    assert sorted(index for index, _ in seen) == list(range(5))
    assert len(steps) == 6  # the third request has two sentences
    assert [count for _, count in seen] == sorted(count for _, count in seen)
    assert seen[0][1] == 1


def test_a_stream_gives_sentence_by_sentence_what_is_spoken_offline(
    voice: EmotiVoiceSynthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request("One two three. Four, five! Six seven?", "anna", seed=3)
    for pause in (0.0, 0.3):
        (whole,) = spoken(voice, [request], pause=pause)
        parts = list(voice.stream(request, pause))
        assert len(parts) == 3
        streamed = np.concatenate(parts)
        assert streamed.dtype == whole.dtype == np.float32
        np.testing.assert_allclose(streamed, whole, atol=1e-5)
    batches: list[int] = []
    speak = EmotiVoiceSynthesizer._speak_batch
    monkeypatch.setattr(
        EmotiVoiceSynthesizer, "_speak_batch", lambda self, batch: (batches.append(len(batch)), speak(self, batch))
    )
    stream = voice.stream(request)
    assert not batches
    next(stream)
    assert batches == [1]
    with pytest.raises(UnisonError, match="speaker=anne"):
        voice.stream(Request("one", "anne"))


def test_nothing_is_spoken_before_everything_is_checked(
    voice: EmotiVoiceSynthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmotiVoiceSynthesizer, "_speak_batch", lambda *_: pytest.fail("spoke"))
    for wrong in ({"batch_size": 0}, {"pause": -0.1}, {"pause": float("nan")}, {"max_chars": 3}):
        with pytest.raises(UnisonError):
            voice.each(REQUESTS, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UnisonError) as caught:
        voice.each([*REQUESTS, Request("", "anna"), Request("one", "anne"), Request("one", "bert", speed=-1)])
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["request 6", "request 7", "request 8"]


def test_seeds(run_folder: Path) -> None:
    voice = load(run_folder, "cpu", "32-true", "griffinlim")
    first, again, other = (voice.speak("one two", "anna", seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.shape == other.shape
    assert np.abs(first - other).max() > 0.05 * np.abs(first).max()
    fresh = load(run_folder, "cpu", "32-true", "griffinlim").speak("one two", "anna", seed=1)[0]
    assert np.array_equal(first, fresh)
    for seed in (-1, 2**63):
        with pytest.raises(UnisonError, match=r"seed=.*: expected a number from 0 to 9223372036854775807"):
            voice.speak("one", "anna", seed=seed)
    voice.speak("one", "anna", seed=2**63 - 1)


def test_the_surroundings_are_left_as_they_were(voice: EmotiVoiceSynthesizer) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    voice.speak("one", "anna")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("pause", [0.0, 0.25, 1.5])
def test_long_text_is_cut_at_sentence_ends_and_joined_with_pauses(voice: EmotiVoiceSynthesizer, pause: float) -> None:
    text = "One two three. Four, five! Six seven? " + "eight nine one, " * 12 + "two."
    pieces = sentences(text, SENTENCE_CHARS)
    assert len(pieces) == 5
    assert pieces[:3] == ["One two three.", "Four, five!", "Six seven?"]
    (whole,) = spoken(voice, [Request(text, "anna")], pause=pause)
    assert pieces[3].endswith(","), "the long sentence is cut at a comma, where half a pause is natural"
    silences = [np.zeros(round(p * 8000), np.float32) for p in (pause, pause, pause, pause / 2)]
    parts = spoken(voice, [Request(piece, "anna") for piece in pieces])
    expected = np.concatenate([parts[0], *(x for pair in zip(silences, parts[1:], strict=True) for x in pair)])
    assert whole.shape == expected.shape
    np.testing.assert_allclose(whole, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Yes.", 1),
        ("Really?”", 1),
        ("你好。", 1),
        ("one,", 0.5),
        ("你好，", 0.5),
        ("thus:", 0.5),
        ("no mark", 0),
        ("五", 0),
    ],
)
def test_pauses_follow_punctuation(text: str, share: float) -> None:
    assert pause_after(text, 0.4) == pytest.approx(0.4 * share)


def slow(voice: EmotiVoiceSynthesizer, frames: int) -> None:
    """Make the voice predict so many frames for every symbol."""
    predictor = voice.voice.model.acoustic.duration_predictor
    output = [m for m in predictor.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv1d)][-1]
    with torch.no_grad():
        output.weight.zero_()
        output.bias.fill_(np.log(frames + 1))


def test_speed_divides_the_length(run_folder: Path) -> None:
    voice = load(run_folder, "cpu", "32-true")
    slow(voice, 8)
    lengths = {s: len(voice.speak("one two three", "anna", speed=s)[0]) for s in (0.5, 1.0, 2.0, 4.0)}
    assert lengths[2.0] == lengths[1.0] / 2
    assert lengths[0.5] == lengths[1.0] * 2
    assert lengths[4.0] == lengths[1.0] / 4
    for speed in (0.0, -1.0, 0.2, 4.1, float("inf")):
        with pytest.raises(UnisonError, match=r"speed=.*: expected 0\.25 … 4"):
            voice.speak("one", "anna", speed=speed)


@pytest.mark.parametrize("vocoder", [None, "griffinlim"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_speaks_nearly_the_same(run_folder: Path, precision: str, vocoder: str | None) -> None:
    reference = load(run_folder, "cpu", "32-true", vocoder)
    voice = load(run_folder, "cpu", precision, vocoder)
    assert voice.policy.asked == precision
    assert voice.policy.ran == {"16-mixed": "bf16-mixed"}.get(precision, precision)
    parameter = next(voice.voice.parameters())
    assert parameter.dtype == voice.policy.param_dtype
    for own in (reference, voice):
        slow(own, 6)  # a rounded duration of another length could not be compared
    one, other = (spoken(own, [Request("one two three four five", "anna")])[0] for own in (reference, voice))
    assert one.shape == other.shape
    assert other.dtype == np.float32
    assert np.isfinite(other).all()
    levels = [np.sqrt(np.mean(samples**2)) for samples in (one, other)]
    assert levels[1] == pytest.approx(levels[0], rel=0.1)
    if vocoder is None:  # Griffin-Lim's phases are free to go elsewhere
        error = np.sqrt(np.mean((one - other) ** 2)) / levels[0]
        assert error < (1e-6 if precision == "32-true" else 0.01 if precision == "16-true" else 0.08)


def test_vocoders(run_folder: Path, voice: EmotiVoiceSynthesizer) -> None:
    assert isinstance(voice.vocoder, IstftHead)
    stand_in = load(run_folder, "cpu", "32-true", "griffinlim")
    assert isinstance(stand_in.vocoder, GriffinLim)
    assert stand_in.speak("one", "anna")[0].shape == voice.speak("one", "anna")[0].shape
    acoustic_only = EmotiVoiceSynthesizer(
        voice.contract.replace(trained={"acoustic": 4, "vocoder": 0, "joint": 0}),
        voice.voice,
        voice.policy,
        voice.device,
    )
    assert isinstance(acoustic_only.vocoder, GriffinLim)
    assert np.array_equal(acoustic_only.speak("one", "anna")[0], stand_in.speak("one", "anna")[0])


def test_it_speaks_with_the_average_where_there_is_one(run_folder: Path, voice: EmotiVoiceSynthesizer) -> None:
    states = read_checkpoint(resolve_ckpt(run_folder).path)["state_dict"]
    name = "model.acoustic.symbols.weight"
    assert not torch.equal(states[AVERAGE_PREFIX + name], states[VOICE_PREFIX + name])
    assert torch.equal(voice.voice.state_dict()[name], states[AVERAGE_PREFIX + name])


def test_the_python_interface(run_folder: Path) -> None:
    voice = unison.load(run_folder)
    assert voice.speakers == ["anna", "bert"]
    assert voice.sample_rate == 8000
    assert voice.contract.geometry["hop_length"] == 128
    samples, rate = voice.speak("one, two", speaker="bert", speed=1.25, seed=7)
    assert rate == 8000
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert len(samples) % 128 == 0
    assert np.abs(samples).max() <= 1
    voice.speakers.append("x")
    assert voice.speakers == ["anna", "bert"]
    with pytest.raises(UnisonError, match="speaker=Anna: this voice has no such speaker; nearest: anna"):
        voice.speak("one", "Anna")
    with pytest.raises(UnisonError, match="speaker is missing: one of anna, bert"):
        voice.speak("one")
    single = EmotiVoiceSynthesizer(voice.contract.replace(speakers=["anna"]), voice.voice, voice.policy, voice.device)
    single.speak("one")


def test_wrong_types_are_told_by_name(voice: EmotiVoiceSynthesizer) -> None:
    wrong: Any = voice.speak
    with pytest.raises(UnisonError) as caught:
        wrong("one", "anna", speed="fast", seed=1.5)
    assert caught.value.problems == ["speed: expected float, found 'fast'", "seed: expected int, found 1.5"]
    for text in (None, b"one", ["one"]):
        with pytest.raises(UnisonError, match="text: expected str, found"):
            wrong(text, "anna")
    with pytest.raises(UnisonError, match=r"speaker: expected str \| null, found 0"):
        wrong("one", 0)
    assert voice.speak("one", "anna", speed=1)[0].any()


def test_timings_are_shared_out(voice: EmotiVoiceSynthesizer) -> None:
    audios = voice.synthesize([Request("one two three. four", "anna"), Request("five", "bert")])
    for audio in audios:
        assert set(audio.timings) == {"text", "acoustic", "vocoder"}
        assert all(seconds > 0 for seconds in audio.timings.values())
    assert Audio(np.zeros(4000, np.float32), 8000, {"a": 0.5, "b": 0.25}).real_time_factor == 1.5


def test_precision_of_the_training_run_is_the_default(run_folder: Path, voice: EmotiVoiceSynthesizer) -> None:
    assert load(run_folder).policy.ran == voice.contract.precision["ran"] == "32-true"


def test_a_checkpoint_speaks_wherever_it_lies(run_folder: Path, voice: EmotiVoiceSynthesizer, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "voice.ckpt"
    moved.parent.mkdir()
    shutil.copy(resolve_ckpt(run_folder).path, moved)
    expected = voice.speak("one two", "bert")[0]
    for place in (moved, moved.parent, str(moved)):
        assert np.array_equal(load(place, "cpu", "32-true").speak("one two", "bert")[0], expected)


def test_pronunciation_that_is_given(voice: EmotiVoiceSynthesizer) -> None:
    by_text = voice.synthesize([Request("one", "anna")])[0].samples
    symbols = tuple(voice.frontend.symbols("one"))
    given = voice.synthesize([Request("whatever is written", "anna", symbols=symbols)])[0].samples
    assert np.array_equal(by_text, given)
    with pytest.raises(UnisonError, match=r"symbol '\[XX\]' is not among"):
        voice.synthesize([Request("one", "anna", symbols=("<sos/eos>", "[XX]", "<sos/eos>"))])


def test_loading_runs_through_the_contract_alone(run_folder: Path, voice: EmotiVoiceSynthesizer) -> None:
    """Another hop in the contract is another voice: nothing beside it is read."""
    tree = voice.contract.tree()
    tree.audio.hop_length = 64
    tree.vocoder.name = "griffinlim"
    for name in ("width", "layers", "ffn", "kernel"):
        tree.vocoder.pop(name)
    tree.vocoder.update({"n_iter": 2, "momentum": 0.0, "power": 1.0})
    from omegaconf import OmegaConf

    contract = voice.contract.replace(config=OmegaConf.to_yaml(tree))
    other = EmotiVoiceSynthesizer(contract, voice.voice, voice.policy, voice.device)
    assert isinstance(other.vocoder, GriffinLim)
    assert other.vocoder.config.n_iter == 2
    assert len(other.speak("one", "anna")[0]) * 2 == len(voice.speak("one", "anna")[0])


def test_devices_that_are_not_there() -> None:
    for name in ("cuda:99", "mps:3", "gpu", "meta", "cpu:x", ""):
        with pytest.raises(UnisonError, match=r"device=.*try device=cpu"):
            choose_device(name)
    assert choose_device("cpu").type == "cpu"


def test_requests_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        REQUESTS[0].text = "x"  # type: ignore[misc]
