"""A checkpoint of every schema that there was: `tests/data/schema<n>.ckpt`, written by the code of its time."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

import unison
from unison.contract.checkpoint import read_checkpoint, read_contract
from unison.contract.contract import MIGRATIONS, SCHEMA

PAST = range(1, SCHEMA)


def test_every_step_between_schemas_is_there(resources: Path) -> None:
    assert sorted(MIGRATIONS) == list(PAST)
    assert sorted(path.name for path in resources.glob("schema*.ckpt")) == [f"schema{n}.ckpt" for n in PAST]


@pytest.mark.parametrize("schema", PAST)
def test_it_loads_with_a_note_and_speaks_as_it_did(
    resources: Path, schema: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = resources / f"schema{schema}.ckpt"
    assert read_checkpoint(path)["contract"]["schema"] == schema
    with caplog.at_level(logging.INFO, "unison"):
        assert read_contract(path).schema == SCHEMA
    assert any(f"schema {schema}, written by unison" in message for message in caplog.messages)
    samples, rate = unison.load(path).speak("one two", "anna")
    assert (len(samples), rate) == (1152, 8000)
    assert np.abs(samples).mean() == pytest.approx(0.062082, rel=1e-3)
