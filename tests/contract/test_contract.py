from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys

import pytest
import torch
from contract_helpers import contract

from unison.audio.geometry import AudioGeometry
from unison.contract import Contract, versions, weights_digest
from unison.contract import contract as module
from unison.contract.inspect import describe
from unison.errors import UnisonError


def test_round_trip_through_json() -> None:
    ours = contract()
    again = Contract.from_dict(json.loads(json.dumps(ours.to_dict())))
    assert again == ours
    assert again.digest == ours.digest
    assert again.audio == AudioGeometry()
    assert isinstance(again.audio.hop_length, int)
    assert again.tree().model.hidden == 8


def test_digest_is_that_of_canonical_json_and_notices_every_field() -> None:
    ours = contract()
    text = json.dumps(ours.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert ours.digest == hashlib.sha256(text.encode()).hexdigest()
    others = [
        ours.replace(speakers=["小明", "theo", "lucas"]),
        ours.replace(symbols=[*ours.symbols, "c"]),
        ours.replace(config=ours.config + "x: 1\n"),
        ours.replace(geometry=ours.geometry | {"fmax": 7600.0}),
        ours.replace(step=401),
        ours.replace(parents=[{"role": "init", "digest": "00"}]),
    ]
    assert len({other.digest for other in [ours, *others]}) == len(others) + 1


def test_config_digest_follows_the_text() -> None:
    ours = contract()
    assert ours.config_sha256 == hashlib.sha256(ours.config.encode()).hexdigest()
    changed = ours.replace(config="a: 1\n")
    assert changed.config_sha256 == hashlib.sha256(b"a: 1\n").hexdigest()


def test_all_problems_at_once() -> None:
    values = contract().to_dict()
    values["step"] = "400"
    values["speakers"] = ["theo", 3]
    values["symbls"] = values.pop("symbols")
    del values["geometry"]
    with pytest.raises(UnisonError) as caught:
        Contract.from_dict(values)
    assert caught.value.problems == [
        "contract.symbls: no such field; did you mean symbols?",
        "contract.speakers[1]: expected str, found 3",
        "contract.symbols: missing; expected list[str]",
        "contract.geometry: missing; expected dict[str, int | float]",
        "contract.step: expected int, found '400'",
    ]


def test_values_that_types_do_not_catch() -> None:
    values = contract().to_dict()
    values["speakers"] = ["theo", "lucas", "theo"]
    values["symbols"] = ["_", "_"]
    values["config"] += "other: 1\n"
    values["statistics"]["f0_std"] = math.nan
    values["geometry"]["hop_length"] = 0
    values["data"]["sizes"] = {"train": object()}
    with pytest.raises(UnisonError) as caught:
        Contract.from_dict(values)
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "contract.speakers: 'theo' stands at 0 and 2" in text
    assert "contract.symbols: '_' stands at 0 and 1" in text
    assert "contract.config: its SHA-256" in text
    assert "contract.statistics.f0_std: expected a finite number, found nan" in text
    assert "contract.geometry.hop_length: expected more than 0, found 0" in text
    assert "contract.data.sizes.train: expected a primitive, found object" in text


def test_geometry_must_be_complete_and_typed() -> None:
    values = contract().to_dict()
    values["geometry"] |= {"hop_length": 256.0, "hop": 1}
    with pytest.raises(UnisonError, match=r"geometry\.hop: no such field") as caught:
        Contract.from_dict(values)
    assert "contract.geometry.hop_length: expected int, found 256.0" in caught.value.problems


def test_newer_schema_is_refused_by_number_and_writer() -> None:
    values = contract().to_dict() | {"schema": 99, "unheard_of": 1, "versions": {"unison": "7.0"}}
    with pytest.raises(UnisonError, match=r"schema 99, written by unison 7\.0; .*newer unison"):
        Contract.from_dict(values)


@pytest.mark.parametrize("schema", [None, 0, -1, "1", True, 1.0])
def test_schema_must_be_a_number(schema: object) -> None:
    with pytest.raises(UnisonError, match=r"contract\.schema: expected a number"):
        Contract.from_dict(contract().to_dict() | {"schema": schema})


def test_older_schemas_are_migrated_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEMA", 3)
    monkeypatch.setitem(module.MIGRATIONS, 1, lambda old: {**old, "steps": old["n"]})
    monkeypatch.setitem(module.MIGRATIONS, 2, lambda old: {k: v for k, v in old.items() if k not in ("n", "steps")})
    migrated = module.migrate({"schema": 1, "n": 4, "kind": "tts"})
    assert migrated == {"schema": 3, "kind": "tts"}


def test_weights_digest_notices_names_dtypes_shapes_and_bytes_only() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    state = {"a": weight, "b": torch.ones(2, dtype=torch.bfloat16), "c": torch.tensor(True)}
    digest = weights_digest(state)
    assert weights_digest(dict(reversed(state.items()))) == digest
    assert weights_digest(state | {"a": torch.nn.Parameter(weight.t().contiguous().t())}) == digest
    flipped = weight.clone()
    flipped.view(torch.int32)[1, 2] ^= 1
    others = [
        state | {"a": flipped},
        state | {"a": weight.reshape(3, 2)},
        state | {"a": weight.view(torch.int32)},
        state | {"b": state["b"].view(torch.float16)},
        {"A" if name == "a" else name: value for name, value in state.items()},
        state | {"d": torch.zeros(0)},
    ]
    assert len({weights_digest(other) for other in others} | {digest}) == len(others) + 1


def test_versions_are_primitives() -> None:
    found = versions()
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    assert found["python"] == sys.version.split()[0]
    assert contract(versions=found) == Contract.from_dict(contract(versions=found).to_dict())


def test_description_for_people() -> None:
    text = describe(contract(speakers=[f"speaker{i}" for i in range(500)]))
    assert "500: speaker0 speaker1" in text
    assert "bf16-mixed (asked for: 16-mixed)" in text
    assert "mel_mean  2 values from -1 to 0.5" in text
    assert "git_commit  unknown" in text
    assert "  model:" in text
    assert max(map(len, text.splitlines())) < 140


def test_contract_needs_neither_lightning_nor_hydra() -> None:
    code = (
        "import sys, unison.contract, unison.contract.inspect; "
        "sys.exit(bool({'lightning', 'hydra', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
