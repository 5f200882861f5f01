"""Steps that ask nothing of the host give the tokens of those that do."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from unison.models.metavoice import recorded
from unison.models.metavoice.config import FirstStageConfig
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.generate import Decoder, Request
from unison.models.metavoice.recorded import StepLayers
from unison.precision import PRECISIONS, PrecisionPolicy
from unison.quantization import quantize

from .conftest import shortfall

CONFIG = FirstStageConfig(
    layers=2, heads=2, hidden=64, ffn_multiple=16, max_positions=600, codebooks=2, text_tokens=40, dropout=0.0
)
NEAR = {"32-true": 1e-4, "16-mixed": 0.02, "16-true": 0.02, "bf16-mixed": 0.05, "bf16-true": 0.05}
"""How much less likely than the likeliest a token may be, in units of the largest logit."""


@pytest.fixture(scope="module")
def stage() -> FirstStage:
    torch.manual_seed(0)
    stage = FirstStage(CONFIG, codebook_size=50, speaker_dim=16).eval()
    for weight in stage.blocks.parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=0.1)
    return stage


def requests(stage: FirstStage, **changes: Any) -> list[Request]:
    """Longer than the smallest bucket, to the window's end, to an end token; prompts of several lengths."""
    kinds: list[dict[str, Any]] = [
        {"guidance": 3.0, "top_p": 0.9, "stop_token": -1, "max_new_tokens": 300},
        {"guidance": 1.0, "temperature": 0.7, "top_p": None},
        {"guidance": 2.0, "temperature": 0.0, "stop_token": -1, "max_new_tokens": 77},
        {"guidance": 1.0, "temperature": 1.3, "top_k": 20, "ordered": False, "max_new_tokens": 560},
    ]
    speaker = torch.linspace(-1, 1, 16)
    return [
        Request(
            tokens=torch.tensor(stage.layout.text(list(range(3 + 5 * i)))), speaker=speaker, seed=i, **kind | changes
        )
        for i, kind in enumerate(kinds)
    ]


def unwatched(stage: FirstStage) -> Decoder:
    decoder = Decoder(stage)
    decoder._layers = StepLayers(stage, torch.float32)
    return decoder


@pytest.mark.parametrize("changes", [{}, {"guidance": 1.0}, {"temperature": 0.0}, {"ordered": False}])
def test_tokens_are_those_of_watched_steps(stage: FirstStage, changes: dict[str, Any]) -> None:
    asked = requests(stage, **changes)
    expected, found = Decoder(stage).decode(asked), unwatched(stage).decode(asked)
    assert found == expected
    assert max(len(piece.tokens) for piece in found) > 256  # the cache has grown


def test_alone_and_among_others(stage: FirstStage) -> None:
    asked = requests(stage)
    decoder = unwatched(stage)
    assert [decoder.decode([request])[0].tokens for request in asked] == [p.tokens for p in decoder.decode(asked)]


def test_a_stream_that_is_closed_keeps_nothing(stage: FirstStage) -> None:
    """Without garbage being collected: the cache of a long sequence is large."""
    stream = unwatched(stage).stream(requests(stage)[:1])
    next(stream)
    batch = weakref.ref(stream.gi_frame.f_locals["batch"])
    gc.disable()
    try:
        stream.close()
        assert batch() is None
    finally:
        gc.enable()


def decodes(stage: FirstStage, precision: str, bits: str | None, device: str) -> None:
    """What is decoded is the likeliest to float32, or nearly, over hundreds of steps; in a batch and alone."""
    policy = PrecisionPolicy(precision, precision, device)
    there: Any = policy.cast(copy.deepcopy(stage)).to(device)
    if bits:
        quantize(there.blocks, bits)
    decoder = Decoder(there, policy)
    decoder._layers = StepLayers(there, policy.compute_dtype)
    asked = [replace(request, temperature=0.0, ordered=False) for request in requests(stage)]
    for some in (asked, asked[:1], asked[:1]):
        for request, piece in zip(some, decoder.decode(some), strict=True):
            assert len(piece.tokens) > 30
            assert shortfall(stage, request, piece.tokens) < NEAR[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_decodes(stage: FirstStage, precision: str) -> None:
    decodes(stage, precision, None, "cpu")


class TestOnAGpu:
    pytestmark = pytest.mark.gpu

    @pytest.fixture(autouse=True)
    def collected_often(self) -> Iterator[None]:
        """An old recording that is collected while another is made spoils that one."""
        before = gc.get_threshold()
        gc.set_threshold(1, 1, 1)
        yield
        gc.set_threshold(*before)

    def test_greedy_tokens_are_the_processor_s(self, stage: FirstStage) -> None:
        there = copy.deepcopy(stage).cuda()
        for asked in (requests(stage, temperature=0.0), requests(stage, temperature=0.0)[:2]):
            found = [piece.tokens for piece in Decoder(there).decode(asked)]
            assert found == [piece.tokens for piece in Decoder(stage).decode(asked)]

    @pytest.mark.parametrize("precision", PRECISIONS)
    @pytest.mark.parametrize("bits", [None, "int8"])
    def test_every_precision_decodes(self, stage: FirstStage, precision: str, bits: str | None) -> None:
        if bits and precision.startswith("16"):
            pytest.skip("refused: see unison.quantization")
        decodes(stage, precision, bits, "cuda")

    @pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
    def test_without_kernels(self, stage: FirstStage, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recorded, "_has_kernels", lambda device: False)
        decodes(stage, precision, None, "cuda")


class NoCompiler:
    """Triton's driver on a machine without a C compiler."""

    @property
    def active(self) -> Any:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")


def test_without_a_compiler_torch_s_layers_decode(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr("triton.runtime.driver", NoCompiler())
    assert not recorded._has_kernels.__wrapped__(torch.device("cuda"))
    assert "Failed to find C compiler. Please specify via CC" in caplog.text
    assert "gcc" in caplog.text
