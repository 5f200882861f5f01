from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

transformers = pytest.importorskip("transformers")

from unison.errors import UnisonError  # noqa: E402
from unison.style import bert as bert_module  # noqa: E402
from unison.style import style_identity  # noqa: E402
from unison.style.bert import BertStyle, shared  # noqa: E402
from unison.style.config import BertStyleConfig  # noqa: E402

TEXTS = ["你 好", "a very happy voice", "sad", "高 兴 a", "", "happy " * 300]


def reference(folder: Path, text: str) -> Any:
    """transformers alone, one text at a time."""
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**tokenizer(text, truncation=True, max_length=64, return_tensors="pt"))


def bert(folder: Path | str, **changes: Any) -> BertStyle:
    return BertStyle(BertStyleConfig(path=str(folder), **changes))


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_pooled_output_is_that_of_transformers(folder: Path, batch_size: int) -> None:
    style = bert(folder, batch_size=batch_size)
    vectors = style.encode(TEXTS)
    assert vectors.shape == (6, 16)
    assert vectors.dtype == torch.float32
    assert style.dim == 16
    for text, vector in zip(TEXTS, vectors, strict=True):
        torch.testing.assert_close(vector, reference(folder, text).pooler_output[0], atol=1e-5, rtol=0)
    assert (vectors[0] - vectors[1]).abs().max() > 0.01
    assert not vectors.requires_grad


def test_other_poolings(folder: Path) -> None:
    hidden = [reference(folder, text).last_hidden_state[0] for text in TEXTS]
    torch.testing.assert_close(bert(folder, pooling="cls").encode(TEXTS), torch.stack([h[0] for h in hidden]))
    means = torch.stack([h.mean(0) for h in hidden])
    torch.testing.assert_close(bert(folder, pooling="mean").encode(TEXTS), means, atol=1e-5, rtol=1e-5)


def test_token_limit(folder: Path) -> None:
    short = bert(folder, max_tokens=4)
    torch.testing.assert_close(short.encode(["happy sad voice"]), short.encode(["happy sad"]))
    assert short.identity["max_tokens"] == 4
    assert bert(folder).identity["max_tokens"] == 64


def test_order_repetition_and_nothing(folder: Path) -> None:
    style = bert(folder)
    assert torch.equal(style.encode(["sad", "a", "sad"]), style.encode(["a", "sad"])[[1, 0, 1]])
    assert style.encode([]).shape == (0, 16)


def test_identity(folder: Path, tmp_path: Path) -> None:
    identity = bert(folder).identity
    assert identity["dim"] == 16
    assert identity["pooling"] == "pooler"
    assert style_identity(BertStyleConfig(path=str(folder)), {}) == identity
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    assert bert(moved).identity | {"path": str(folder)} == identity
    model = transformers.BertModel.from_pretrained(moved)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[7, 0] += 1e-3
    model.save_pretrained(moved)
    changed = bert(moved).identity
    assert changed["weights_digest"] != identity["weights_digest"]
    assert changed["config_sha256"] == identity["config_sha256"]
    words = (folder / "vocab.txt").read_text().split("\n")
    (moved / "swapped.txt").write_text("\n".join([*words[:7], words[8], words[7], *words[9:]]))
    transformers.BertTokenizerFast(str(moved / "swapped.txt")).save_pretrained(moved)
    assert bert(moved).identity["tokenizer_sha256"] != identity["tokenizer_sha256"]
    assert bert(moved).digest != bert(folder).digest


def test_the_last_vectors_are_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    encode = BertStyle._encode
    monkeypatch.setattr(BertStyle, "_encode", lambda self, texts: (calls.append(texts), encode(self, texts))[1])
    monkeypatch.setattr(bert_module, "_REMEMBERED", 3)
    style = bert(folder)
    first = style.encode(["a", "sad", "happy"])
    assert torch.equal(style.encode(["happy", "a"]), first[[2, 0]])
    assert calls == [["a", "sad", "happy"]]
    style.encode(["voice"])  # now sad was asked for longest ago
    style.encode(["a", "happy", "voice"])
    assert calls[1:] == [["voice"]]
    style.encode(["sad"])
    assert calls[2:] == [["sad"]]
    many = style.encode([*TEXTS, "a"])  # more than are remembered
    assert many.shape == (7, 16)
    torch.testing.assert_close(many[-1], first[0])
    assert len(style._known) == 3


def test_an_encoder_is_shared_until_its_settings_or_files_change(folder: Path, tmp_path: Path) -> None:
    exchanged = Path(shutil.copytree(folder, tmp_path / "bert"))
    config = BertStyleConfig(path=str(exchanged))
    first = shared(config)
    digest = first.digest
    first.encode(["a"])
    second = shared(BertStyleConfig(path=str(exchanged)))
    assert second._encoder is first._encoder
    assert not second._known
    config.pooling = "cls"  # of a config that was handed over, and is no longer ours
    assert first.config.pooling == "pooler"
    assert shared(config).identity["pooling"] == "cls"
    config.pooling = "pooler"
    assert shared(config).digest == digest
    model = transformers.BertModel.from_pretrained(exchanged)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[7, 0] += 1e-3
    model.save_pretrained(exchanged)
    assert shared(config).digest != digest
    shutil.rmtree(exchanged)
    with pytest.raises(UnisonError, match="no such folder"):
        shared(config)


def test_wrong_settings() -> None:
    with pytest.raises(UnisonError, match=r"style\.pooling: expected one of pooler, cls, mean, found 'max'"):
        bert("x", pooling="max")
    with pytest.raises(UnisonError, match=r"style\.path: missing"):
        bert("")


def test_folders_that_are_no_encoder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnisonError, match=r"no config\.json in this folder"):
        bert(tmp_path).encode(["a"])
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.safetensors").unlink()
    with pytest.raises(UnisonError, match="its files are incomplete or damaged"):
        bert(broken).encode(["a"])
    (broken / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:2000])
    with pytest.raises(UnisonError, match="its files are incomplete or damaged"):
        bert(broken).encode(["a"])
    (broken / "config.json").write_text("{}")
    with pytest.raises(UnisonError, match="its files are incomplete or damaged"):
        bert(broken).encode(["a"])


def test_no_pooler_in_the_weights(folder: Path, tmp_path: Path) -> None:
    transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(tmp_path)
    for name in os.listdir(folder):
        if not (tmp_path / name).exists():
            shutil.copy(folder / name, tmp_path / name)
    with pytest.raises(UnisonError, match=r"pooler\.dense\.bias.* would be random; .*style\.pooling=mean"):
        bert(tmp_path).encode(["a"])
    torch.testing.assert_close(bert(tmp_path, pooling="cls").encode(["a"]), bert(folder, pooling="cls").encode(["a"]))


def test_hub_id_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from unison.style.bert import BertStyle; from unison.style.config import BertStyleConfig\n"
        "from unison.errors import UnisonError\n"
        "try: BertStyle(BertStyleConfig(path='nobody/no-such-encoder')).encode(['a'])\n"
        "except UnisonError as error: print(error)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout
    assert "style.path=nobody/no-such-encoder: it is no local folder, and as a hub id it can't be had" in out
    assert "hf download nobody/no-such-encoder" in out


def test_a_folder_that_is_not_there_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "styles").mkdir(parents=True)
    for path in ("outputs/emotivoice/style", "outputs/style", "/nowhere/style", "../style", "./style"):
        with pytest.raises(UnisonError) as error:
            bert(path).encode(["a"])
        assert str(error.value).startswith(f"style.path={path}: no such folder"), path
        assert "hub" not in str(error.value)
    with pytest.raises(UnisonError, match="nearest: outputs/styles"):
        bert("outputs/style").encode(["a"])


def test_without_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UnisonError, match=r"style=bert needs transformers: pip install"):
        bert(folder).encode(["a"])


def test_configs_need_no_torch() -> None:
    code = "import sys, unison.style.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
