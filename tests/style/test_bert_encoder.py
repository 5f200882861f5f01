"""A style encoder on a BERT: the same heads on its pooled output, rebuilt from the checkpoint alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

transformers = pytest.importorskip("transformers")

import unison  # noqa: E402
from unison.contract.checkpoint import read_contract, resolve_ckpt  # noqa: E402
from unison.errors import UnisonError  # noqa: E402
from unison.models.style_encoder.bert import BertReader, described  # noqa: E402
from unison.training.run import train  # noqa: E402

Config = Callable[..., DictConfig]


def test_pooled_output_is_that_of_transformers(folder: Path) -> None:
    description, weights = described(str(folder))
    reader = BertReader(description, 64).eval()
    reader.model.load_state_dict(weights)
    assert reader.dim == 16
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder).eval()
    texts = ["你 好", "a very happy voice", "sad", "happy " * 300]
    with torch.no_grad():
        vectors = reader(texts)
        for text, vector in zip(texts, vectors, strict=True):
            tokens = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
            torch.testing.assert_close(vector, model(**tokens).pooler_output[0], atol=1e-5, rtol=0)


def test_trained_from_a_folder_that_then_goes(config: Config, folder: Path, tmp_path: Path, command: Any) -> None:
    bert = Path(shutil.copytree(folder, tmp_path / "bert"))
    of = config.__globals__["STYLE_ENCODER"]  # type: ignore[attr-defined]
    asked = ["name=reader", f"outputs={tmp_path}", f"model.bert={bert}"]
    train(config(*asked, "trainer.stages.style_encoder.learning_rate=0", of=of))
    shutil.rmtree(bert)
    encoder = unison.load(tmp_path / "reader", "cpu")
    assert encoder.dim == 16
    original = transformers.BertModel.from_pretrained(folder).state_dict()
    for name, tensor in encoder.reader.model.state_dict().items():
        assert torch.equal(tensor, original[name]), "it starts from the folder's weights"
    assert encoder.read("a very happy voice").keys() == {"emotion", "pitch", "speed", "energy"}
    contract = read_contract(resolve_ckpt(tmp_path / "reader").path)
    assert not contract.tokenizer, "it reads by its own tokenizer"
    done = command("train", f"resume={tmp_path / 'reader'}", "trainer.stages.style_encoder.steps=5")
    assert done.code == 0, done.err
    voice = ["trainer=acoustic", "trainer.stages.acoustic.steps=2", "style=prompt", f"style.path={tmp_path}/reader"]
    train(config(*voice, f"outputs={tmp_path}", "name=voice", "trainer.accelerator=cpu"))
    spoken, _ = unison.load(tmp_path / "voice", "cpu").speak("one", "anna", prompt="sad")
    assert spoken.size


def test_no_encoder_there(config: Config, tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match=r"model.bert=.*: no encoder with its tokenizer can be read there"):
        described(str(tmp_path))
