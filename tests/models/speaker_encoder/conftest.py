"""MetaVoice's speaker encoder, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session")
def golden(resources: Path) -> dict[str, Any]:
    """A file of the reference, `model_state`, and what it makes of `wav_16k`: `embedding`."""
    values: dict[str, Any] = torch.load(resources / "metavoice_speaker.pt", weights_only=True)
    # stored in float16, which is all that they hold
    values["model_state"] = {name: value.float() for name, value in values["model_state"].items()}
    return values
