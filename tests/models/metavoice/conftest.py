"""The tiny MetaVoice of the golden values, whose weights are random."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from unison.convert import metavoice
from unison.models.metavoice import FirstStage, SecondStage

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


@pytest.fixture
def _forget() -> Iterator[None]:
    """Compiled code is kept with the function, for all modules: no test sees another's."""
    import torch._dynamo

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
