"""What a prompt does to a voice, from the corpus to ``infer.py``: style=bert, style=labels, style=none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from unison.config.tree import conf_dir
from unison.contract.checkpoint import read_contract, resolve_ckpt
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.export import run as export
from unison.inference.extend import extend
from unison.inference.request import Request
from unison.inference.run import infer
from unison.inference.synthesizer import load
from unison.style.prompt import parse_labels
from unison.training.run import train

Config = Callable[..., DictConfig]
SHORT = [
    "trainer=acoustic",
    "trainer.stages.acoustic.steps=2",
    "trainer.stages.acoustic.batch_size=4",
    "trainer.accelerator=cpu",
]


def trained(config: Config, outputs: Path, *overrides: str) -> Path:
    train(config(*SHORT, f"outputs={outputs}", "name=voice", *overrides))
    return outputs / "voice"


def samples(voice: EmotiVoiceSynthesizer, prompt: str | None, speaker: str = "anna") -> np.ndarray:
    return voice.speak("one two", speaker, prompt=prompt)[0]


# -- bert ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of our own, that can be exchanged."""
    return Path(shutil.copytree(folder, tmp_path_factory.mktemp("encoder") / "bert"))


@pytest.fixture(scope="module")
def read(config: Config, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose prompts are read by the encoder."""
    outputs = tmp_path_factory.mktemp("read")
    return trained(config, outputs, "style=bert", f"style.path={encoder}", "style.max_tokens=16")


def test_bert_vectors_of_texts_and_prompts_are_prepared(read: Path, encoder: Path) -> None:
    contract = read_contract(resolve_ckpt(read).path)
    assert contract.style["dim"] == 16
    corpus = Corpus(contract.tree().derived.prepared)
    assert corpus.style_table.shape == (8, 16)  # one for each text
    voice = load(read, "cpu")
    assert voice.style_encoder is not None
    utterance = corpus.utterances[0]
    assert utterance.content_row is not None
    np.testing.assert_allclose(
        corpus.style_table[utterance.content_row], voice.style_encoder.encode([utterance.text])[0], atol=1e-5
    )


def test_bert_prompts_are_heard(read: Path, tmp_path: Path) -> None:
    voice = load(read, "cpu")
    happy, sad, none = (samples(voice, prompt) for prompt in ("a very happy voice", "sad", None))
    assert np.array_equal(happy, samples(voice, "a very happy voice"))
    for one, other in ((happy, sad), (happy, none)):
        assert one.shape != other.shape or np.abs(one - other).max() > 1e-5
    assert np.array_equal(none, samples(voice, "one two"))  # the text stands in for a missing prompt
    batch = [Request("one", "anna", "happy"), Request("two", "bert", "sad"), Request("three four", "bert")]
    for request, audio in zip(batch, voice.synthesize(batch), strict=True):
        alone = voice.synthesize([request])[0].samples
        assert audio.samples.shape == alone.shape
        np.testing.assert_allclose(audio.samples, alone, atol=1e-2)


def test_bert_through_infer(config: Config, read: Path, tmp_path: Path) -> None:
    stated = OmegaConf.load(conf_dir() / "infer.yaml")
    del stated["defaults"]
    asked = {"ckpt": str(read), "text": "one", "speaker": "bert", "prompt": "a happy voice", "device": "cpu"}
    cfg = OmegaConf.merge(stated, asked, {"out": str(tmp_path / "a.wav")})
    assert isinstance(cfg, DictConfig)
    infer(cfg)
    assert (tmp_path / "a.wav").is_file()
    assert '"prompt": "a happy voice"' in (tmp_path / "a.json").read_text()


def test_another_encoder_of_equal_width_is_refused_by_name(
    read: Path, encoder: Path, folder: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    expected = samples(load(read, "cpu"), "happy")
    model = transformers.BertModel.from_pretrained(encoder)
    with torch.no_grad():
        model.encoder.layer[0].output.dense.weight[0, 0] += 1e-3
    model.save_pretrained(encoder)
    try:
        with pytest.raises(
            UnisonError, match="holds another encoder than the one this voice was trained with"
        ) as error:
            load(read, "cpu")
        assert str(encoder) in error.value.problems[0]
        assert "(weights_digest differ)" in error.value.problems[0]
        # the original, wherever it lies
        assert np.array_equal(samples(load(read, "cpu", style_path=str(folder)), "happy"), expected)
        moved = encoder.rename(tmp_path / "moved")
        with pytest.raises(UnisonError) as error:
            load(read, "cpu")
        assert f"style.path={encoder}" in error.value.problems[0]
        assert error.value.problems[1].startswith("give style_path=<folder>")
        moved.rename(encoder)
    finally:
        shutil.rmtree(encoder, ignore_errors=True)
        shutil.copytree(folder, encoder)


@pytest.mark.parametrize("out", ["exported", "grown", "grown.ckpt"])
def test_the_encoder_goes_along(
    read: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    expected = samples(load(read, "cpu"), "happy")
    target = tmp_path / "first" / out
    if out == "exported":
        export(OmegaConf.create({"ckpt": str(read), "out": str(target)}))
    else:
        names = {"speakers": ["zoe"], "symbols": [], "labels": {}, "donor": None}
        extend(OmegaConf.create({"ckpt": str(read), "out": str(target), **names}))
    if out == "grown.ckpt":
        monkeypatch.chdir(tmp_path)
        assert np.array_equal(samples(load(target, "cpu"), "happy"), expected)
        return
    assert sorted(path.name for path in (target / "style").glob("*.safetensors")) == ["model.safetensors"]
    texts = [path.read_text() for path in target.rglob("*.json")]
    assert not any(str(encoder.parent) in text or str(read.parent) in text for text in texts)
    target.parent.rename(tmp_path / "moved")
    hidden = encoder.rename(tmp_path / "hidden")
    try:
        assert np.array_equal(samples(load(tmp_path / "moved" / out, "cpu"), "happy"), expected)
    finally:
        hidden.rename(encoder)


def test_an_encoder_that_can_t_go_along(
    read: Path, encoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = encoder.rename(tmp_path / "hidden")
    try:
        export(OmegaConf.create({"ckpt": str(read), "out": str(tmp_path / "voice")}))
        assert f"put the encoder into {tmp_path / 'voice' / 'style'}" in caplog.text
        with pytest.raises(UnisonError, match=r"lay it beside as style/"):
            load(tmp_path / "voice", "cpu")
    finally:
        hidden.rename(encoder)
    shutil.copytree(encoder, tmp_path / "voice" / "style")
    assert samples(load(tmp_path / "voice", "cpu"), "happy").any()


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(config: Config, tmp_path_factory: pytest.TempPathFactory) -> EmotiVoiceSynthesizer:
    """A voice with tables of the corpus's emotions."""
    folder = trained(config, tmp_path_factory.mktemp("labelled"), "style=labels", "style.emotion=4")
    return load(folder, "cpu")


def test_labels_with_their_class_or_alone(labelled: EmotiVoiceSynthesizer) -> None:
    assert labelled.contract.labels["emotion"] == ["calm", "glad"]
    assert labelled.contract.style == {"name": "labels", "dims": {"emotion": 4}}
    with torch.no_grad():  # two steps of training hardly tell them apart
        table = labelled.voice.style.state_dict()["tables.emotion.weight"]
        table.mul_(30)
    glad, alone, calm, none = (samples(labelled, p) for p in ("emotion=glad", " glad ", "calm", None))
    assert np.array_equal(glad, alone)
    for one, other in ((glad, calm), (glad, none), (calm, none)):
        assert one.shape != other.shape or np.abs(one - other).max() > 1e-5


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("gald", "prompt=gald: no label gald; nearest: glad; this voice knows emotion: calm, glad"),
        ("emotion=gald", "prompt=emotion=gald: no emotion=gald; nearest: glad; this voice knows emotion: calm, glad"),
        ("mood=glad", "prompt=mood=glad: no mood=glad; this voice knows emotion: calm, glad"),
        ("speak happily", "prompt=speak happily: no label speak happily; "),
    ],
)
def test_unknown_labels(labelled: EmotiVoiceSynthesizer, prompt: str, problem: str) -> None:
    with pytest.raises(UnisonError) as caught:
        samples(labelled, prompt)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(problem)


def test_held_out_utterances_are_asked_for_by_their_own_labels(labelled: EmotiVoiceSynthesizer) -> None:
    assert labelled.prompt_of({"emotion": "glad", "speed": "", "prompt": "x"}) == "emotion=glad"
    assert labelled.prompt_of({}) is None
    samples(labelled, labelled.prompt_of({"emotion": "calm"}))


LABELS = {"emotion": ["happy", "high"], "pitch": ["low", "high"], "speed": []}


def test_several_labels() -> None:
    assert parse_labels("happy, pitch=high", LABELS) == {"emotion": "happy", "pitch": "high"}
    assert parse_labels("happy，low;", LABELS) == {"emotion": "happy", "pitch": "low"}
    for nothing in (None, "", " , ", "；"):
        assert parse_labels(nothing, LABELS) == {}


def test_all_problems_of_a_prompt_at_once() -> None:
    with pytest.raises(UnisonError) as caught:
        parse_labels("high, sad, speed=fast", LABELS)
    first, second, third = caught.value.problems
    assert first.endswith("high may be emotion=high or pitch=high; say which")
    assert "no label sad" in second
    assert "no speed=fast; this voice knows emotion: happy, high; pitch: low, high" in third


# -- none ------------------------------------------------------------------------------------------------------------


def test_a_voice_without_style_refuses_a_prompt(run_folder: Path) -> None:
    voice = load(run_folder, "cpu")
    assert voice.contract.labels["emotion"]  # the corpus had labels, the voice has not learnt them
    for prompt in ("glad", "emotion=glad", "a happy voice"):
        with pytest.raises(UnisonError, match="this voice was trained without style: leave prompt out"):
            samples(voice, prompt)
    assert voice.prompt_of({"emotion": "glad", "prompt": "gladly"}) is None
    assert np.array_equal(samples(voice, ""), samples(voice, None))
