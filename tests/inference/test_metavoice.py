"""Speaking with a MetaVoice of random weights: what holds whatever it has learnt."""

from __future__ import annotations

import json
import logging
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import voice_like
from tests.inference.conftest import Infer
from tests.inference.language_voice import HOP, RATE, made
from unison.errors import UnisonError
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.metavoice import MetaVoiceSynthesizer
from unison.inference.request import Request
from unison.inference.synthesizer import load
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.generate import Decoder, Piece
from unison.models.metavoice.generate import Request as Decoding

REQUESTS = [
    Request("One two three. Four, five six! Seven", "anna", seed=3),
    Request("six", "bert", seed=4),
    Request("seven, नमस्ते 😀 Ωmega “quoted” …", "bert", seed=5, guidance=1.0),
    Request("one", "anna", seed=6, temperature=0.7, top_p=0.8, top_k=20),
    Request("two two", "anna", seed=7, temperature=0.1, guidance=1.0),
]


@pytest.fixture(scope="session", params=[False, True], ids=["first", "second"])
def ckpt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice without and one with a second stage."""
    return made(tmp_path_factory.mktemp("metavoice") / "voice.ckpt", request.param)


@pytest.fixture(scope="session")
def language_voice(ckpt: Path) -> MetaVoiceSynthesizer:
    voice = load(ckpt, "cpu")
    assert isinstance(voice, MetaVoiceSynthesizer)
    return voice


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice whose first stage predicts all."""
    return made(tmp_path_factory.mktemp("single") / "voice.ckpt")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "voice.wav", voice_like(150, 12.0, 22050, 0), 22050)
    return tmp_path / "voice.wav"


Script = Callable[[int], tuple[list[tuple[int, int]], bool]]


class Scripted:
    """A decoder that says what it is told: for the number of a decoding its frames, and whether an end follows."""

    def __init__(self, script: Script) -> None:
        self._script, self._count = script, 0
        self.prompts: deque[Decoding] = deque()

    def stream(self, requests: Sequence[Decoding]) -> Iterator[Piece]:
        flat = []
        for request in requests:
            frames, stopped = self._script(self._count)
            self._count += 1
            self.prompts.append(request)
            tokens = [code + 32 * book for frame in frames for book, code in enumerate(frame)]
            assert request.max_new_tokens is not None
            flat.append((tokens[: request.max_new_tokens], stopped and len(tokens) < request.max_new_tokens))
        for start in range(0, max(len(tokens) for tokens, _ in flat) + 1, 16):
            for number, (tokens, stopped) in enumerate(flat):
                if start <= len(tokens):
                    done = start + 16 > len(tokens)
                    piece = Piece(number, tokens[start : start + 16], done, done and stopped)
                    yield piece
                    if piece.unwanted:
                        flat[number] = ([], False)


def noise(count: int, seed: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    return [(int(a), int(b)) for a, b in rng.integers(0, 32, (count, 2))]


# -- alone, among others, in a stream ----------------------------------------------------------------------------------


def test_a_request_sounds_the_same_alone_among_others_and_in_a_stream(language_voice: MetaVoiceSynthesizer) -> None:
    alone = [language_voice.synthesize([request])[0].samples for request in REQUESTS]
    assert len({len(samples) for samples in alone}) > 2
    for batch_size in (2, 16):
        for one, audio in zip(alone, language_voice.synthesize(REQUESTS, batch_size=batch_size), strict=True):
            assert audio.samples.shape == one.shape
            assert audio.samples.dtype == np.float32
            np.testing.assert_allclose(audio.samples, one, atol=1e-5)
    for one, request in zip(alone, REQUESTS, strict=True):
        np.testing.assert_allclose(np.concatenate(list(language_voice.stream(request))), one, atol=1e-5)
        assert np.abs(one).max() > 1e-3


def test_another_seed_is_another_speech_and_the_same_the_same(language_voice: MetaVoiceSynthesizer, ckpt: Path) -> None:
    one, again, other = (language_voice.speak("one two three", "anna", seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert one.shape != other.shape or np.abs(one - other).max() > 0.01
    assert np.array_equal(load(ckpt, "cpu").speak("one two three", "anna", seed=1)[0], one)
    assert not np.array_equal(language_voice.speak("one two three", "bert", seed=1)[0], one)


def test_a_stream_gives_samples_while_they_are_decoded(single: Path) -> None:
    voice: Any = load(single, "cpu")
    voice._decoder = Scripted(lambda _: (noise(200, 0), True))
    text = "one two three four five six seven one two three four five six seven one two three"
    parts = [len(part) for part in voice.stream(Request(text, "anna"))]
    assert len(parts) > 8
    assert max(parts) < 80 * HOP  # the last: what was held back
    assert sum(parts) == 200 * HOP
    (whole,) = voice.synthesize([Request(text, "anna")])
    assert len(whole.samples) == 200 * HOP
    assert np.array_equal(whole.samples, np.concatenate(list(voice.stream(Request(text, "anna")))))


def test_each_request_is_given_as_soon_as_it_is_done(language_voice: MetaVoiceSynthesizer) -> None:
    told: list[tuple[int, int]] = []
    order = [index for index, _ in language_voice.each(REQUESTS, 2, on_progress=lambda *step: told.append(step))]
    assert sorted(order) == list(range(5))
    assert order[0] == 1  # the short one is done before the one that was begun with it
    done = 0
    for step, total in told:
        done += step
        assert done <= total
    assert done == told[-1][1]


def test_guidance_of_one_has_no_second_row(single: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    head = FirstStage.head
    monkeypatch.setattr(FirstStage, "head", lambda self, x: (rows.append(len(x)), head(self, x))[1])
    voice = load(single, "cpu")
    for guidance, expected in ((1.0, 1), (3.0, 2)):
        rows.clear()
        voice.synthesize([Request("one two", "anna", guidance=guidance)])
        assert set(rows) == {expected}


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize(("name", "brought", "another"), [("guidance", 1.5, 3.0), ("top_k", 2, 20)])
def test_a_voice_brings_how_it_is_spoken_with(
    tmp_path: Path, second: bool, name: str, brought: float, another: float
) -> None:
    """Where a request does not say; also where the first stage is a part of what another run has trained."""
    settings: dict[str, Any] = {name: brought}
    voice = load(made(tmp_path / "voice.ckpt", second, **settings), "cpu")
    asked: list[dict[str, Any]] = [{}, {name: brought}, {name: another}]
    own, named, other = voice.synthesize([Request("one two", "anna", **one) for one in asked])
    assert voice.asked(Request("one two", "anna"))[name] == brought
    np.testing.assert_array_equal(own.samples, named.samples)
    assert len(own.samples) != len(other.samples) or not np.array_equal(own.samples, other.samples)


def test_what_is_decoded_is_what_the_first_stage_generates(single: Path) -> None:
    voice: Any = load(single, "cpu")
    request = Request("six", "bert", seed=4, guidance=2.0, temperature=0.8, top_p=0.9, top_k=12)
    samples = voice.synthesize([request])[0].samples
    first = voice.voice.first
    tokens = torch.tensor(first.layout.text(voice.tokenizer.encode("six")))
    decoding = Decoding(
        tokens=tokens,
        speaker=voice.voice.speakers[1],
        guidance=2.0,
        temperature=0.8,
        top_p=0.9,
        top_k=12,
        seed=4,
        max_new_tokens=2 * voice.room.bound(len(tokens) - 1) + 1,
    )
    (decoded,) = Decoder(first).decode([decoding])
    assert decoded.stopped
    with torch.inference_mode():
        whole = voice.voice.codec.decode(first.layout.unflatten(torch.tensor(decoded.tokens))[None])[0, 0].numpy()
    assert len(whole) == len(samples) > 2 * HOP
    np.testing.assert_allclose(samples[100:-100], whole[100:-100], atol=1e-5)


# -- length ------------------------------------------------------------------------------------------------------------


def test_a_page_is_spoken_within_the_window_piece_by_piece(single: Path) -> None:
    voice: Any = load(single, "cpu")
    scripted = voice._decoder = Scripted(lambda number: (noise(25 + number % 7, number), True))
    page = " ".join(["One two three four, five six.", "Seven one!"] * 100)
    parts = [len(samples) for samples in voice.stream(Request(page, "anna"), pause=0.1)]
    assert len(scripted.prompts) == 200
    assert max(len(prompt.tokens) + (prompt.max_new_tokens or 0) for prompt in scripted.prompts) <= 1024 + 1
    assert max(len(prompt.tokens) for prompt in scripted.prompts) < 100  # of what was said the last piece alone
    assert sum(parts) == sum((25 + number % 7) * HOP for number in range(200)) + 199 * 800
    assert max(parts) < 40 * HOP


def test_memory_does_not_grow_with_the_text(single: Path) -> None:
    voice: Any = load(single, "cpu")
    scripted = voice._decoder = Scripted(lambda number: (noise(30, number), True))
    scripted.prompts = deque(maxlen=1)

    def peak(sentences: int) -> int:
        """Bytes at most, beside the text, while it is streamed."""
        stream = voice.stream(Request("One two three. " * sentences, "anna"))
        tracemalloc.start()
        for _ in stream:
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(2)
    assert peak(80) < 1.2 * peak(8)


def test_the_piece_before_is_carried_over(single: Path) -> None:
    voice: Any = load(single, "cpu")
    scripted = voice._decoder = Scripted(lambda number: (noise(30, number), True))
    voice.synthesize([Request("One two. Three four.", "anna")])
    layout, encode = voice.room.layout, voice.tokenizer.encode
    first = [code + 32 * book for frame in noise(30, 0) for book, code in enumerate(frame)]
    assert scripted.prompts[1].tokens.tolist() == layout.text(encode("One two. Three four.")) + first


def test_a_long_text_of_a_random_voice_stays_in_a_small_window(tmp_path: Path) -> None:
    for second in (False, True):
        voice = load(made(tmp_path / f"{second}.ckpt", second, window=160, second_window=90), "cpu")
        audio = voice.synthesize([Request("One two three four. " * 2, "anna")])[0]
        assert audio.seconds > 0.5
        assert np.isfinite(audio.samples).all()


def test_texts_of_any_length_are_taken_unless_the_caller_says_otherwise(language_voice: MetaVoiceSynthesizer) -> None:
    text = "one two. " * 2000
    language_voice.each([Request(text, "anna")])
    with pytest.raises(UnisonError, match="the text has 18000 characters, the limit is 100"):
        language_voice.each([Request(text, "anna")], max_chars=100)


def test_texts_are_read_in_the_characters_that_were_learnt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    learnt = {"seconds_per_token": 0.2, "longest_seconds": 8.0, "characters": "efghinorstuvwxz"}
    voice: Any = load(made(tmp_path / "digits.ckpt", statistics=learnt), "cpu")
    scripted = voice._decoder = Scripted(lambda number: (noise(30, number), True))
    seconds = voice.synthesize([Request("“Séven!” Three.", "anna")], pause=0.5)[0].seconds
    assert seconds == pytest.approx(60 * HOP / 8000 + 0.5)  # marks that are not read still part sentences
    layout, encode = voice.room.layout, voice.tokenizer.encode
    assert scripted.prompts[0].tokens.tolist() == layout.text(encode("seven"))
    assert scripted.prompts[1].tokens.tolist()[: len(encode("seven three")) + 1] == layout.text(encode("seven three"))
    assert not caplog.records
    voice.synthesize([Request("seven Я", "anna")])
    assert "nothing that this voice learnt from is written with Я" in caplog.text


# -- what goes wrong on the way ----------------------------------------------------------------------------------------


def test_a_loop_is_spoken_again_and_told(single: Path, caplog: pytest.LogCaptureFixture) -> None:
    voice: Any = load(single, "cpu")
    script = [(noise(20, 0) + [(1, 2), (3, 4)] * 200, False), (noise(12, 1), True)]
    scripted = voice._decoder = Scripted(lambda number: script[number % 2])
    text = "one two three four five six"
    with caplog.at_level(logging.WARNING):
        (audio,) = voice.synthesize([Request(text, "anna", seed=9)])
    assert len(audio.samples) == 32 * HOP
    assert [retry["done"] for retry in audio.details["retries"]] == ["spoken again"]
    assert "it repeats itself after 1.64 s; spoken again" in caplog.text
    assert [prompt.seed == 9 for prompt in scripted.prompts] == [True, False]
    streamed = np.concatenate(list(voice.stream(Request(text, "anna", seed=9))))
    assert np.array_equal(streamed, audio.samples)


def test_a_voice_that_only_loops_comes_to_an_end(ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rigged: whatever it hears, it says the first code of the codebook that is due."""
    head = FirstStage.head

    def rigged(self: FirstStage, x: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros_like(head(self, x))
        logits[..., [0, 32]] = 100.0
        return logits

    monkeypatch.setattr(FirstStage, "head", rigged)
    (audio,) = load(ckpt, "cpu").synthesize([Request("one two. three four.", "anna", guidance=2.0)])
    retries = audio.details["retries"]
    assert [retry["done"] for retry in retries] == [*["spoken again"] * 3, "cut there"] * 2
    assert {retry["why"] for retry in retries} == {"it repeats itself"}
    assert audio.seconds < 1
    assert audio.details["tokens"] <= 8 * (2 * 62 + 16)  # nothing was decoded when the loop had been seen


def test_numbers_that_are_none_are_said_not_spoken(single: Path) -> None:
    voice: Any = load(single, "cpu")
    with torch.no_grad():
        voice.voice.first.blocks[0].attention.out.weight.fill_(float("nan"))
    with pytest.raises(UnisonError, match=r"precision=32-true: blocks\.0\.attention\.out .* not finite"):
        voice.synthesize([Request("one two three", "anna")])


# -- whose voice -------------------------------------------------------------------------------------------------------


def test_a_recording_is_a_voice(language_voice: MetaVoiceSynthesizer, recording: Path, tmp_path: Path) -> None:
    samples, rate = language_voice.speak("one two three", reference=recording, seed=1)
    assert rate == RATE
    assert len(samples)
    copy = tmp_path / "another name.flac"
    soundfile.write(copy, *soundfile.read(recording))
    speeches = language_voice.plan([Request("one", reference=(str(path),)) for path in (recording, copy)])
    torch.testing.assert_close(speeches[0].speaker, speeches[1].speaker)
    named = language_voice.plan([Request("one", "anna")])[0].speaker
    assert not torch.allclose(named, speeches[0].speaker)


def test_a_recording_is_heard_as_those_that_the_encoder_learnt_from(
    single: Path, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder learnt from recordings at 8 kHz and hears at 16 kHz: what is above 4 kHz must not reach it."""
    samples, rate = soundfile.read(recording)
    hiss = np.random.default_rng(0).normal(size=len(samples)) * 0.1
    soundfile.write(recording, samples + hiss, rate, subtype="FLOAT")
    voice: Any = load(single, "cpu")
    heard: list[np.ndarray] = []
    embed = voice._embeddings
    monkeypatch.setattr(voice, "_embeddings", lambda waveforms: heard.extend(waveforms) or embed(waveforms))
    voice.plan([Request("one", reference=(str(recording),))])
    (waveform,) = heard
    assert len(waveform) / 16000 == pytest.approx(12, abs=0.2)
    power = np.abs(np.fft.rfft(waveform)) ** 2
    above = np.fft.rfftfreq(len(waveform), 1 / 16000) > 4500
    assert power[above].sum() < 1e-3 * power[~above].sum()


@pytest.mark.parametrize("precision", ["bf16-true", "16-mixed", "bf16-mixed"])
def test_a_voice_has_one_vector_in_every_precision(single: Path, recording: Path, precision: str) -> None:
    one, other = (load(single, "cpu", name) for name in ("32-true", precision))
    request = Request("one two", reference=(str(recording),))
    torch.testing.assert_close(other.plan([request])[0].speaker, one.plan([request])[0].speaker)
    assert np.isfinite(other.synthesize([request])[0].samples).all()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (Request("one", "anne"), "speaker=anne: this voice has no such speaker; nearest: anna; or give reference="),
        (Request("one"), "speaker is missing: one of anna, bert; or give reference="),
        (
            Request("one", "anna", speed=1.5),
            "speed=1.5: for a voice of the emotivoice family; this one is of metavoice",
        ),
        (
            Request("one", "anna", pause_scale=2.0),
            "pause_scale=2.0: for a voice of the emotivoice family; this one is of metavoice",
        ),
        (Request("one", "anna", prompt="glad"), "prompt=glad: for a voice of the emotivoice family"),
        (Request("one", "anna", guidance=0.5), "guidance=0.5: expected 1"),
        (Request("one", "anna", guidance=float("nan")), "guidance=nan: expected 1"),
        (Request("one", "anna", temperature=-1.0), "temperature=-1: expected 0"),
        (Request("one", "anna", top_p=0.0), "top_p=0: expected more than 0"),
        (Request("one", "anna", top_k=0), "top_k=0: expected 1 or more"),
        (Request("one", "anna", seed=-1), "seed=-1: expected a number from 0"),
        (Request(" ", "anna"), "the text is empty"),
        (Request("…", "anna"), "nothing to read aloud in '…'"),
        (Request("one <break 300ms> two", "anna"), "the text asks for pronunciations, timed breaks or prosody"),
        (Request("one", reference=("nowhere.wav",)), "reference: nowhere.wav: there is no such recording"),
    ],
)
def test_refusals(language_voice: MetaVoiceSynthesizer, request_: Request, problem: str) -> None:
    with pytest.raises(UnisonError) as caught:
        language_voice.each([request_])
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_recordings_that_are_too_little(
    language_voice: MetaVoiceSynthesizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short, silent, five = (tmp_path / f"{name}.wav" for name in ("short", "silent", "five"))
    soundfile.write(short, voice_like(150, 2.0, 16000, 0), 16000)
    soundfile.write(silent, np.zeros(160000), 16000)
    soundfile.write(five, voice_like(150, 5.0, 16000, 0), 16000)
    with pytest.raises(UnisonError) as caught:
        language_voice.each([Request("one", reference=(str(path),)) for path in (short, silent)])
    assert "request 1: reference: " in caught.value.problems[0]
    assert "a voice needs 3 s" in caught.value.problems[0]
    assert "are silent" in caught.value.problems[1]
    with caplog.at_level(logging.WARNING):
        language_voice.each([Request("one", reference=(str(five),))] * 3)
    assert caplog.text.count("imitated better from 10 s") == 1


def test_one_voice_at_a_time(language_voice: MetaVoiceSynthesizer, recording: Path) -> None:
    with pytest.raises(UnisonError, match="speaker=anna and reference are both given: give one"):
        language_voice.speak("one", "anna", reference=[recording])


def test_what_emotivoice_does_not_have(voice: EmotiVoiceSynthesizer, recording: Path) -> None:
    with pytest.raises(UnisonError, match=r"reference=.*voice\.wav: for a voice of the metavoice family"):
        voice.speak("one", "anna", reference=recording)
    with pytest.raises(UnisonError, match=r"guidance=2\.0: for a voice of the metavoice family; this"):
        voice.speak("one", "anna", guidance=2.0)


def test_knobs_are_refused_before_the_weights_are_looked_at(ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unison.inference import synthesizer

    monkeypatch.setattr(synthesizer, "trained_voice", lambda *_: pytest.fail("built"))
    with pytest.raises(UnisonError) as caught:
        load(ckpt, "cpu", vocoder="griffinlim", requests=[Request("one", speed=2.0), Request("one", prompt="glad")])
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "speed=2.0",
        "prompt=glad",
        "vocoder=griffinlim",
    ]


def test_a_voice_without_its_second_stage_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ckpt", codebooks=4)
    with pytest.raises(UnisonError, match=r"gives 2 of the codec's 4 codebooks .* train a second stage"):
        load(path, "cpu")


# -- a voice that was trained ------------------------------------------------------------------------------------------


def test_a_trained_voice_speaks_and_its_export_the_same(metavoice_folder: Path, infer: Infer, tmp_path: Path) -> None:
    assert infer(f"ckpt={metavoice_folder}", f"out={tmp_path}/voice", command="export").code == 0
    trained, exported = (load(path, "cpu") for path in (metavoice_folder, tmp_path / "voice"))
    assert isinstance(trained, MetaVoiceSynthesizer)
    statistics = trained.contract.statistics
    assert trained.room.seconds_per_token == statistics["seconds_per_token"]
    assert trained.room.longest_seconds == statistics["longest_seconds"]
    samples, rate = trained.speak("one two", "bert", seed=2)
    assert rate == RATE
    assert np.array_equal(exported.speak("one two", "bert", seed=2)[0], samples)


# -- the command -------------------------------------------------------------------------------------------------------


def test_infer(infer: Infer, ckpt: Path, recording: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "b.flac", voice_like(150, 4.0, 16000, 1), 16000)
    done = infer(
        f"ckpt={ckpt}",
        "text=One, two: नमस्ते!",
        f"reference=[{recording},b.flac]",
        "guidance=2.5",
        "seed=5",
        "out=a.wav",
    )
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert record["request"] == {
        "text": "One, two: नमस्ते!",
        "speaker": None,
        "guidance": 2.5,
        "temperature": 1.0,
        "top_p": 0.95,
        "top_k": None,
        "seed": 5,
    }
    assert len(record["references"]) == 2
    assert str(tmp_path) not in json.dumps(record)
    assert record["tokens"] > 0
    assert record["tokens_per_second"] > 0
    assert 0 < record["seconds_to_first_audio"] < 60
    assert isinstance(record["retries"], list)
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == RATE
    assert record["seconds"] == pytest.approx(len(samples) / RATE, abs=1e-3)


def test_infer_lines(infer: Infer, single: Path, recording: Path, tmp_path: Path) -> None:
    lines = [
        "one two",
        json.dumps({"text": "three", "reference": str(recording), "top_k": 5}),
        json.dumps({"text": "four", "reference": [str(recording)], "temperature": 0.5, "guidance": 1, "out": "x.flac"}),
    ]
    done = infer(f"ckpt={single}", "speaker=anna", "out=o", stdin="\n".join(lines))
    assert done.code == 0, done.err
    records = {p.stem: json.loads(p.read_text())["request"] for p in (tmp_path / "o").glob("*.json")}
    assert [records[name]["speaker"] for name in ("0001", "0002", "x")] == ["anna", None, None]
    assert records["x"]["guidance"] == 1
    errors = infer(f"ckpt={single}", stdin='{"text": "one", "reference": []}\n{"text": "one", "top_k": 1.5}').errors
    assert errors[0] == "standard input, line 1: reference: expected a file or a list of files, found []"
    assert errors[1].startswith("standard input, line 2: top_k: expected int")


def test_infer_refuses(infer: Infer, single: Path, run_folder: Path) -> None:
    foreign = ("speed=2", "pitch=3", "pitch_range=0.5", "energy=2", "pause_scale=0")
    assert infer(f"ckpt={single}", "text=one", "speaker=anna", *foreign).errors == [
        f"{knob}.0: for a voice of the emotivoice family; this one is of metavoice".replace("0.5.0", "0.5")
        for knob in foreign
    ]
    assert infer(f"ckpt={run_folder}", "text=one", "speaker=anna", "reference=a.wav", "top_k=3").errors == [
        "reference=a.wav: for a voice of the metavoice family; this one is of emotivoice",
        "top_k=3: for a voice of the metavoice family; this one is of emotivoice",
    ]
    errors = infer(f"ckpt={single}", "text=one", "reference=[a.wav, b c.wav]").errors
    assert errors == [
        "reference: a.wav: there is no such recording",
        "reference: b c.wav: there is no such recording",
    ]
    assert infer(f"ckpt={single}", "text=one", "reference=").errors == [
        "reference=: nothing is given; a recording, or several as [a.wav,b.flac]"
    ]


def test_infer_quantised(infer: Infer, single: Path, run_folder: Path, tmp_path: Path) -> None:
    done = infer(f"ckpt={single}", "text=one", "speaker=anna", "quantize=int8", "out=a.wav")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "a.json").read_text())["quantize"] == {"asked": "int8", "ran": "int8"}
    assert infer(f"ckpt={run_folder}", "text=one", "quantize=int4").errors == [
        "quantize=int4: a voice of the emotivoice family has no language model to quantize"
    ]
    (error,) = infer(f"ckpt={single}", "text=one", "speaker=anna", "quantize=int4").errors
    assert error.endswith("precision=32-true has other parameters: give precision=bf16-true, or quantize=int8")
