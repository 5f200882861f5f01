"""What a text says about how it is read is heard: timed breaks, rate, volume, pitch, pronunciations."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from unison.bench.runs import contract
from unison.builders import build_voice
from unison.config.compilation import CompileConfig
from unison.errors import UnisonError
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.request import Request
from unison.inference.shaping import shaped
from unison.models.emotivoice.spans import Spans
from unison.precision import resolve_precision
from unison.text import frontend
from unison.text.reading import PLAIN, Prosody
from unison.text.symbols import symbol_list

TEXTS = ["one two three, hello there. I read it", "我去重庆，你好世界。现在长"]
PAUSES = ["sp0", "sp1", "sp2", "sp3", "sp4", "engsp1", "engsp2", "engsp4", "cn_eng_sp", "eng_cn_sp"]
RATE = 16000


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> EmotiVoiceSynthesizer:
    """A small voice that has learnt nothing; every symbol lasts a few frames."""
    torch.manual_seed(0)
    described = contract(["model=emotivoice_small", "vocoder=istft_small", "text=auto"])
    symbols = symbol_list([*(frontend("auto").symbols(text) for text in TEXTS), PAUSES, ["[EH1]", "[IY1]"]])
    described = described.replace(
        family="emotivoice",
        symbols=symbols,
        statistics=described.statistics | {"f0_mean": 200.0, "f0_std": 50.0},
        trained={"vocoder": 1},
        frontend={"name": "auto", "version": "1", "lexicon": "现在\tchong2\n"},
    )
    made = build_voice(described).eval()
    torch.nn.init.constant_(made.model.acoustic.duration_predictor.out.bias, 1.6)
    lexicon = tmp_path_factory.mktemp("words") / "words.txt"
    lexicon.write_text("three\tHH EH1 L\n")
    policy, off = resolve_precision("32-true", "cpu"), CompileConfig()
    return EmotiVoiceSynthesizer(described, made, policy, torch.device("cpu"), compile=off, lexicon=lexicon)


def speak(voice: EmotiVoiceSynthesizer, text: str, **how: float) -> np.ndarray:
    return voice.synthesize([Request(text, "one", **how)], pause=0.1)[0].samples  # type: ignore[arg-type]


def longest_silence(samples: np.ndarray) -> int:
    longest = run = 0
    for silent in samples == 0:
        run = run + 1 if silent else 0
        longest = max(longest, run)
    return longest


@pytest.mark.parametrize("mark", ["<break 300ms>", '<break time="0.3s"/>'])
def test_a_timed_break_is_silence_of_that_length(voice: EmotiVoiceSynthesizer, mark: str) -> None:
    assert longest_silence(speak(voice, "one two three")) < 100
    found = longest_silence(speak(voice, f"one two {mark} three"))
    assert found == pytest.approx(0.3 * RATE, abs=2)
    long = longest_silence(speak(voice, "我去<break 2.5s>重庆"))
    assert long == pytest.approx(2.5 * RATE, abs=2)


def test_breaks_at_the_ends_and_between_sentences(voice: EmotiVoiceSynthesizer) -> None:
    plain = speak(voice, "one two. three")
    marked = speak(voice, "<break 0.5s>one two. <break 0.7s>three<break 0.2s>")
    assert len(marked) - len(plain) == pytest.approx((0.5 + 0.7 - 0.1 + 0.2) * RATE, abs=3)
    assert not marked[: RATE // 2].any()
    assert not marked[-RATE // 5 :].any()
    streamed = np.concatenate(list(voice.stream(Request("<break 0.5s>one two. <break 0.7s>three<break 0.2s>", "one"))))
    np.testing.assert_allclose(streamed, marked, atol=1e-4)


def test_rate_holds_for_its_span_alone(voice: EmotiVoiceSynthesizer) -> None:
    plain, half = speak(voice, "one two three"), speak(voice, '<prosody rate="50%">one two three</prosody>')
    assert len(half) / len(plain) == pytest.approx(len(speak(voice, "one two three", speed=0.5)) / len(plain), rel=0.1)
    part = speak(voice, 'one <prosody rate="50%">two</prosody> three')
    assert len(plain) < len(part) < len(half)


def test_volume_scales_the_samples_of_its_span(voice: EmotiVoiceSynthesizer) -> None:
    plain, soft = speak(voice, "one two three"), speak(voice, '<prosody volume="-6dB">one two three</prosody>')
    assert len(plain) == len(soft)
    middle = slice(len(plain) // 3, len(plain) // 2)
    np.testing.assert_allclose(soft[middle], plain[middle] * 10 ** (-6 / 20), rtol=1e-3, atol=1e-6)


def test_pitch_shifts_f0_of_its_span() -> None:
    spans = Spans(torch.tensor([[0.0, 12.0, -12.0]]), torch.tensor([[-1, -1, 7]]), f0_zero=-200 / 50)
    hertz = spans.of_pitch(torch.tensor([[0.5, 0.5, 0.5]])) * 50 + 200
    assert hertz.tolist() == [[225, 450, 112.5]]
    assert spans.of_durations(torch.tensor([[3, 4, 5]])).tolist() == [[3, 4, 7]]


def test_pitch_is_heard(voice: EmotiVoiceSynthesizer) -> None:
    plain, high = speak(voice, "one two three"), speak(voice, '<prosody pitch="+4st">one two three</prosody>')
    assert len(plain) == len(high)
    assert np.abs(plain - high).max() > 1e-5


def test_marked_texts_in_a_batch_sound_as_alone(voice: EmotiVoiceSynthesizer) -> None:
    texts = ["one <break 0.1s> two", "hello there", '<prosody rate="2" volume="50%">我去重庆</prosody>']
    alone = [speak(voice, text) for text in texts]
    together = voice.synthesize([Request(text, "one") for text in texts])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other.samples, atol=1e-4)


def test_own_words_of_the_contract_and_of_the_call(voice: EmotiVoiceSynthesizer) -> None:
    assert voice.frontend.symbols("现在")[1:-1] == ["ch", "ong2"]
    assert voice.frontend.symbols("three")[1:-1] == ["[HH]", "[EH1]", "[L]"]
    np.testing.assert_array_equal(speak(voice, "我去{chong2}"), speak(voice, "我去现在"))


def test_what_can_not_be_read_is_left_out_with_a_warning(
    voice: EmotiVoiceSynthesizer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(speak(voice, "one ж two. жж."), speak(voice, "one two"))
    assert "can't read 'ж' (U+0436)" in caplog.text
    with pytest.raises(UnisonError, match=r"can't read 'ж'.*nothing to read"):
        speak(voice, "жж")


def test_shaping_keeps_every_other_sample() -> None:
    samples = np.ones(400, np.float32)
    marks = [("a", PLAIN, None), ("b", PLAIN, 0.01), ("c", Prosody(volume=0.5), None)]
    out = shaped(samples, marks, np.array([100, 100, 200]), rate=10_000)
    assert len(out) == 400  # the break's 100 samples are 0.01 s already
    assert not out[100:200].any()
    assert (out[:50] == 1).all()
    assert (out[260:] == 0.5).all()
