from __future__ import annotations

import json
import math
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unison.errors import UnisonError
from unison.models.codec import Encodec, EncodecConfig

transformers = pytest.importorskip("transformers")

HOP = 6
TINY: dict[str, Any] = {
    "num_filters": 4,
    "hidden_size": 8,
    "codebook_size": 16,
    "sampling_rate": 240,
    "upsampling_ratios": [2, 3],
    "num_residual_layers": 2,
    # 40 frames a second of 4 bits: 1, 2 and 4 codebooks
    "target_bandwidths": [0.16, 0.32, 0.64],
}
KINDS: dict[str, dict[str, Any]] = {
    "causal": {},
    # its residual blocks wait for frames to reflect, where the others' get enough at once
    "narrow": {"kernel_size": 1, "use_conv_shortcut": False},
    "centred": {"use_causal_conv": False},
}


def save(folder: Path, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = transformers.EncodecModel(transformers.EncodecConfig(**(TINY | changes)))
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    model.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Encodec]:
    """A random model as transformers has it, and what the adapter reads from its folder, at two codebooks."""
    folder = tmp_path_factory.mktemp("encodec")
    model = save(folder, **KINDS[request.param])
    return model, Encodec.from_pretrained(EncodecConfig(str(folder), 2))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("samples", [1, 5, 6, 7, 100])
def test_it_is_transformers_own(pair: tuple[Any, Encodec], samples: int) -> None:
    model, codec = pair
    assert (codec.sample_rate, codec.hop_length, codec.codebooks, codec.codebook_size) == (240, HOP, 2, 16)
    waveform = noise(2, 1, samples)
    codes = codec.encode(waveform)
    assert codes.shape == (2, 2, math.ceil(samples / HOP))
    with torch.no_grad():
        theirs = model.encode(waveform, bandwidth=0.32)
        assert torch.equal(codes, theirs.audio_codes[0])
        sound = model.decode(theirs.audio_codes, theirs.audio_scales).audio_values
    assert codec.decode(codes).shape == (2, 1, codes.shape[2] * HOP)
    torch.testing.assert_close(codec.decode(codes), sound)


def test_an_item_of_a_padded_batch_is_what_it_is_alone(pair: tuple[Any, Encodec]) -> None:
    codec = pair[1]
    waveform, lengths = noise(4, 1, 100), torch.tensor([37, 100, 5, 37])
    codes = codec.encode(waveform, lengths)
    sound = codec.decode(codes, codec.frames(lengths))
    assert codes.shape == (4, 2, 17)
    assert sound.shape == (4, 1, 17 * HOP)
    for i, length in enumerate(lengths.tolist()):
        alone = codec.encode(waveform[i : i + 1, :, :length])
        frames = alone.shape[2]
        assert torch.equal(codes[i, :, :frames], alone[0])
        torch.testing.assert_close(sound[i, :, : frames * HOP], codec.decode(alone)[0])
        assert not codes[i, :, frames:].any()
        assert not sound[i, :, frames * HOP :].any()


@given(frames=st.integers(1, 20), cuts=st.lists(st.integers(0, 20), max_size=5))
@settings(max_examples=12, deadline=None)
def test_a_stream_in_any_pieces_is_the_whole(pair: tuple[Any, Encodec], frames: int, cuts: list[int]) -> None:
    codec = pair[1]
    codes = torch.randint(0, 16, (2, 2, frames), generator=torch.Generator().manual_seed(2))
    stream, bounds = codec.stream(), [0, *sorted(min(cut, frames) for cut in cuts), frames]
    pieces = [stream.feed(codes[..., a:b]) for a, b in pairwise(bounds)]
    pieces.append(stream.flush())
    torch.testing.assert_close(torch.cat(pieces, dim=2), codec.decode(codes), atol=1e-6, rtol=1e-5)
    # the causal one gives all that it has been fed, once there is enough to reflect
    if frames > 6:
        assert (pieces[-1].shape[2] == 0) == codec.causal


@pytest.mark.parametrize("frames", [0, 3])
def test_a_stream_that_has_ended_takes_no_more(pair: tuple[Any, Encodec], frames: int) -> None:
    stream, given = pair[1].stream(), 0
    if frames:
        given = stream.feed(torch.zeros(1, 2, frames).long()).shape[2]
    assert stream.flush().shape == (1, 1, frames * HOP - given)
    with pytest.raises(ValueError, match="flushed"):
        stream.feed(torch.zeros(1, 2, 1).long())


def test_settings_and_weights_are_enough_to_have_it_again(pair: tuple[Any, Encodec]) -> None:
    codec = pair[1]
    again = Encodec(json.loads(json.dumps(codec.settings)), codec.codebooks)
    again.load_state_dict(codec.state_dict())
    codes = codec.encode(noise(1, 1, 60))
    assert torch.equal(again.encode(noise(1, 1, 60)), codes)
    assert torch.equal(again.decode(codes), codec.decode(codes))


def test_it_stays_frozen(pair: tuple[Any, Encodec]) -> None:
    codec = torch.nn.Sequential(pair[1]).train()[0]
    assert not [name for name, module in codec.named_modules() if module.training and name]
    assert not [name for name, parameter in codec.named_parameters() if parameter.requires_grad]


def test_codes_of_another_codec_are_refused(pair: tuple[Any, Encodec]) -> None:
    with pytest.raises(ValueError, match="0 to 15"):
        pair[1].decode(torch.full((1, 2, 3), 16))
    with pytest.raises(ValueError, match=r"takes \[batch, 2, frames\]"):
        pair[1].stream().feed(torch.zeros(1, 3, 3).long())


def problem(path: str, codebooks: int = 2) -> str:
    with pytest.raises(UnisonError) as raised:
        Encodec.from_pretrained(EncodecConfig(path, codebooks))
    assert len(raised.value.problems) == 1
    return raised.value.problems[0]


def test_what_is_no_encodec_is_named(tmp_path: Path) -> None:
    save(tmp_path / "good")
    assert "takes 1, 2, 4" in problem(str(tmp_path / "good"), 3)
    (tmp_path / "empty").mkdir()
    assert "no config.json" in problem(str(tmp_path / "empty"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    assert "this is a bert model" in problem(str(tmp_path / "other"))
    shutil.copytree(tmp_path / "good", tmp_path / "weightless")
    (tmp_path / "weightless" / "model.safetensors").unlink()
    assert "incomplete or damaged" in problem(str(tmp_path / "weightless"))
    save(tmp_path / "stereo", audio_channels=2, normalize=True)
    assert "has 2 channels, normalize=True" in problem(str(tmp_path / "stereo"))
    for nowhere in (str(tmp_path / "none"), "nowhere", "./some/where", "a/b/c"):
        assert "there is no such folder; expected a folder of a Hugging Face EnCodec, or a hub id" in problem(nowhere)


def test_a_hub_id_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network\nmore")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    said = problem("someone/encodec")
    assert "hf download someone/encodec" in said
    assert said.endswith("(no network)")


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "pip install 'unison-tts[encodec]'" in problem("facebook/encodec_24khz")
