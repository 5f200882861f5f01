"""The tiny MetaVoice of the golden values, whose weights are random."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unison.convert import metavoice
from unison.models.metavoice import FirstStage, Request, SecondStage
from unison.precision import PrecisionPolicy

GOLDEN = Path(__file__).parents[2] / "data" / "metavoice_tiny.pt"


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """What the reference computes."""
    return torch.load(GOLDEN, weights_only=True)


@pytest.fixture
def first(golden: dict[str, Any]) -> FirstStage:
    return metavoice.first_stage(golden["first_stage"])


@pytest.fixture
def second(golden: dict[str, Any]) -> SecondStage:
    return metavoice.second_stage(golden["second_stage"])


@torch.inference_mode()
def guided(model: FirstStage, tokens: Tensor, request: Request, policy: PrecisionPolicy | None = None) -> Tensor:
    """Logits [T, V] after each of the tokens, on the processor in float32; computed without a cache."""
    speakers = [request.speaker] if request.guidance == 1 or request.speaker is None else [request.speaker, None]
    there = model.embedding.weight.device
    with contextlib.nullcontext() if policy is None else policy.autocast():
        logits = [
            model.logits(tokens[None].to(there), None if one is None else one[None].to(there))[0].float().cpu()
            for one in speakers
        ]
    return logits[-1] + request.guidance * (logits[0] - logits[-1]) if len(logits) > 1 else logits[0]


def shortfall(model: FirstStage, request: Request, tokens: list[int]) -> float:
    """How much less likely than the likeliest tokens are to a model in float32, in units of the largest logit."""
    logits = guided(model, torch.cat((request.tokens, torch.tensor(tokens))), request)[len(request.tokens) - 1 : -1]
    taken = logits.gather(-1, torch.tensor(tokens)[:, None])[:, 0]
    return float(((logits.amax(-1) - taken) / logits.abs().amax()).max())


@pytest.fixture
def _forget() -> Iterator[None]:
    """Compiled code is kept with the function, for all modules: no test sees another's."""
    import torch._dynamo

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
