"""style=prompt: a voice with its own encoder of prompts, from the corpus's labels to ``infer.py``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from unison.config.tree import conf_dir
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.data.manifest import Corpus
from unison.errors import UnisonError
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.export import run as export
from unison.inference.request import Request
from unison.inference.run import infer
from unison.inference.synthesizer import load
from unison.style.config import PromptStyleConfig
from unison.style.reader import PromptReader
from unison.style.vectors import PromptStyle
from unison.training.run import train

Config = Callable[..., DictConfig]
SHORT = [
    "trainer=acoustic",
    "trainer.stages.acoustic.steps=2",
    "trainer.stages.acoustic.batch_size=4",
    "trainer.accelerator=cpu",
    "callbacks.previews.count=1",
    "style=prompt",
]


@pytest.fixture(scope="module")
def encoder(style_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder's run, that can go away."""
    return Path(shutil.copytree(style_encoder_folder, tmp_path_factory.mktemp("encoder") / "prompts"))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def voice_folder(config: Config, encoder: Path, outputs: Path) -> Path:
    """A voice that learnt prompts, after which its encoder's run is gone."""
    train(config(*SHORT, f"outputs={outputs}", "name=voice", f"style.path={encoder}", "data.labels=computed"))
    encoder.rename(encoder.with_name("gone"))
    return outputs / "voice"


@pytest.fixture(scope="module")
def voice(voice_folder: Path) -> EmotiVoiceSynthesizer:
    loaded = load(voice_folder, "cpu")
    assert isinstance(loaded, EmotiVoiceSynthesizer)
    return loaded


def samples(voice: EmotiVoiceSynthesizer, prompt: str | None) -> np.ndarray:
    return voice.speak("one two", "anna", prompt=prompt)[0]


def test_the_checkpoint_needs_no_other_file(voice_folder: Path, style_encoder_folder: Path) -> None:
    contract, weights = read_weights(resolve_ckpt(voice_folder))
    origin, own = read_weights(resolve_ckpt(style_encoder_folder))
    assert contract.style == {"name": "prompt", "weights_digest": origin.weights_digest, "dim": 8}
    assert contract.components["style_encoder"]["digest"] == origin.digest
    assert {name for name in weights if name.startswith("style_encoder.")} == {f"style_encoder.{name}" for name in own}
    for name, tensor in own.items():
        assert torch.equal(weights[f"style_encoder.{name}"], tensor), "nothing of it has learnt"


def test_vectors_are_those_of_words_for_the_labels(voice: EmotiVoiceSynthesizer) -> None:
    corpus = Corpus(voice.contract.tree().derived.prepared)
    assert corpus.labels["pitch"] == ["high", "low", "normal"]
    reader = voice.style_encoder
    assert isinstance(reader, PromptReader)
    for utterance in corpus.utterances:
        prompt = voice.prompt_of(utterance.style, utterance.key)
        assert prompt == reader.prompt_for(utterance.key, utterance.text, utterance.style)
        assert prompt is not None
        assert utterance.prompt_row is not None
        assert utterance.content_row is None
        np.testing.assert_allclose(corpus.style_table[utterance.prompt_row], reader.encode([prompt])[0], atol=1e-6)
    prompts = {voice.prompt_of({"speed": "fast", "pitch": "high"}, f"{i}") for i in range(40)}
    assert len(prompts) > 35
    assert voice.prompt_of({"prompt": "as one does", "speed": "fast"}, "0") == "as one does"
    assert voice.prompt_of({}) is None
    assert voice.prompt_of({"emotion": "unheard-of"}) is None


def test_prompts_are_heard(voice: EmotiVoiceSynthesizer) -> None:
    fast, slow, none = (samples(voice, prompt) for prompt in ("speak fast", "说慢一点，低沉", None))
    assert np.array_equal(fast, samples(voice, "Speak  FAST"))
    assert np.array_equal(none, samples(voice, "  "))
    for one, other in ((fast, slow), (fast, none)):
        assert one.shape != other.shape or np.abs(one - other).max() > 1e-5
    batch = [Request("one", "anna", "fast"), Request("two three", "bert"), Request("four", "bert", "低沉")]
    for request, audio in zip(batch, voice.synthesize(batch), strict=True):
        alone = voice.synthesize([request])[0].samples
        assert audio.samples.shape == alone.shape
        np.testing.assert_allclose(audio.samples, alone, atol=1e-2)


def test_a_prompt_is_read_once(voice: EmotiVoiceSynthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = voice.style_encoder
    assert isinstance(reader, PromptReader)
    asked: list[str] = []
    encode = reader._encoder.encode
    monkeypatch.setattr(reader._encoder, "encode", lambda texts: (asked.extend(texts), encode(texts))[1])
    for prompt in ("never heard before", "never heard before", "nor this", "never heard before"):
        samples(voice, prompt)
    assert asked == ["never heard before", "nor this"]
    monkeypatch.setattr("unison.style.reader.REMEMBERED", 2)
    for text in ("a", "b", "c", "a"):
        assert torch.equal(reader.encode([text])[0], encode([text])[0])
    assert asked[2:] == ["a", "b", "c", "a"]


def test_the_cost_of_the_prompt_is_told_apart(voice_folder: Path, run_folder: Path, tmp_path: Path) -> None:
    stated = OmegaConf.load(conf_dir() / "infer.yaml")
    del stated["defaults"]
    for ckpt, asked in ((voice_folder, {"prompt": "快"}), (run_folder, {})):
        out = {"ckpt": str(ckpt), "text": "one", "speaker": "bert", "device": "cpu", "out": str(tmp_path / "a.wav")}
        cfg = OmegaConf.merge(stated, out, asked)
        assert isinstance(cfg, DictConfig)
        infer(cfg)
        record = json.loads((tmp_path / "a.json").read_text())
        assert set(record["timings"]) == {"text", "acoustic", "vocoder"} | ({"prompt"} if asked else set())
        assert record["real_time_factor"] == pytest.approx(
            sum(record["timings"].values()) / record["seconds"], rel=0.05, abs=0.01
        )


def test_resumed_without_the_encoders_run(voice_folder: Path, tmp_path: Path, command: Any) -> None:
    copy = Path(shutil.copytree(voice_folder, tmp_path / "copy"))
    done = command("train", f"resume={copy}", "trainer.stages.joint.steps=3")
    assert done.code == 0, done.err
    contract = read_contract(resolve_ckpt(copy).path)
    assert contract.trained["joint"] == 3
    assert contract.components == read_contract(resolve_ckpt(voice_folder).path).components


def test_exported_and_begun_from(
    config: Config, voice: EmotiVoiceSynthesizer, voice_folder: Path, outputs: Path, tmp_path: Path
) -> None:
    stated = {"ckpt": str(voice_folder), "out": str(tmp_path / "exported"), "adapters": "merged"}
    export(OmegaConf.create(stated))
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["contract.json", "model.safetensors"]
    exported = load(tmp_path / "exported", "cpu")
    fresh = load(voice_folder, "cpu")
    assert np.array_equal(samples(exported, "fast"), samples(fresh, "fast"))  # type: ignore[arg-type]
    begun = [*SHORT, f"outputs={outputs}", "data.labels=computed", f"init_from={voice_folder}"]
    train(config(*begun, "name=second"))  # the base brings its encoder
    contract = read_contract(resolve_ckpt(outputs / "second").path)
    assert contract.style == voice.contract.style


def test_another_encoder_is_refused(config: Config, voice_folder: Path, outputs: Path) -> None:
    of = config.__globals__["STYLE_ENCODER"]  # type: ignore[attr-defined]
    cfg = config("name=prompts", f"outputs={outputs}", "seed=5", of=of)
    train(cfg)
    others = [*SHORT, f"outputs={outputs}", "data.labels=computed", f"init_from={voice_folder}", "name=third"]
    with pytest.raises(UnisonError) as error:
        train(config(*others, f"style.path={outputs}/prompts"))
    assert len(error.value.problems) == 1
    assert "another style encoder than the one that the base was trained with" in error.value.problems[0]


def test_what_is_missing_is_named(config: Config, run_folder: Path, outputs: Path, voice_folder: Path) -> None:
    given = [*SHORT, f"outputs={outputs}", "name=wrong"]
    with pytest.raises(UnisonError, match=r"style=prompt reads prompts: style.path="):
        train(config(*given))
    with pytest.raises(UnisonError, match=r"style.path: .*no such parts"):
        train(config(*given, f"style.path={run_folder}"))
    with pytest.raises(UnisonError, match="this voice brings its encoder of prompts; leave it out"):
        load(voice_folder, "cpu", style_path="x")


def test_a_corpus_that_says_nothing_of_style(config: Config, corpus: Path, outputs: Path, voice_folder: Path) -> None:
    table = corpus.parent / "plain.csv"
    table.write_text("\n".join(",".join(line.split(",")[:3]) for line in corpus.read_text().splitlines()))
    asked = [*SHORT, f"outputs={outputs}", "name=plain", f"style.path={voice_folder}", f"data.raw={table}"]
    with pytest.raises(UnisonError, match=r"no clip of this corpus has a prompt or labels.*data.labels=computed"):
        train(config(*asked))


def test_some_prompts_are_hidden_in_training() -> None:
    style = PromptStyle(PromptStyleConfig(dropout=0.25))
    vectors = torch.ones(4000, 3)
    torch.manual_seed(0)
    hidden = style.train().hidden(vectors)
    assert set(hidden.sum(1).tolist()) == {0.0, 3.0}
    assert 0.2 < float((hidden == 0).float().mean()) < 0.3
    assert torch.equal(style.eval().hidden(vectors), vectors)


def test_in_16_bits_the_encoder_stays_as_it_is(voice_folder: Path, voice: EmotiVoiceSynthesizer) -> None:
    half = load(voice_folder, "cpu", precision="bf16-true")
    assert isinstance(half, EmotiVoiceSynthesizer)
    assert half.style_encoder is not None
    assert voice.style_encoder is not None
    assert torch.equal(half.style_encoder.encode(["fast"]), voice.style_encoder.encode(["fast"]))
    assert samples(half, "fast").size
