from __future__ import annotations

from typing import Any

import pytest
import torch
from contract_helpers import contract
from torch import Tensor

from unison.contract.contract import Contract
from unison.contract.tables import LABEL_TABLE, SPEAKER_TABLE, SYMBOL_TABLE, Lists, appended, with_lists
from unison.contract.weights import weights_digest
from unison.errors import UnisonError

EMOTIONS = LABEL_TABLE.format("emotion")


@pytest.fixture
def voice() -> tuple[Contract, dict[str, Tensor]]:
    torch.manual_seed(0)
    weights = {
        SPEAKER_TABLE: torch.randn(3, 5),
        SYMBOL_TABLE: torch.randn(4, 5),
        EMOTIONS: torch.randn(3, 2),
        "model.acoustic.to_mel.weight": torch.randn(2, 5),
    }
    config = "derived:\n  n_speakers: 3\n  n_symbols: 4\n"
    return contract(config=config, weights_digest=weights_digest(weights)), weights


def lists(contract: Contract, **changes: Any) -> Lists:
    return Lists(**(vars(Lists.of(contract)) | changes))


def test_rows_follow_their_names(voice: tuple[Contract, dict[str, Tensor]]) -> None:
    base, weights = voice
    wanted = lists(base, speakers=["lucas", "ann", "theo"], symbols=["_", "<sos/eos>", "b", "AA1", "c"])
    grown, state = with_lists(base, weights, wanted)
    table = state[SPEAKER_TABLE]
    assert torch.equal(table[[0, 2]], weights[SPEAKER_TABLE][[2, 0]])
    torch.testing.assert_close(table[1], weights[SPEAKER_TABLE].mean(0))
    assert torch.equal(state[SYMBOL_TABLE][[0, 1, 3, 2]], weights[SYMBOL_TABLE])
    assert state["model.acoustic.to_mel.weight"] is weights["model.acoustic.to_mel.weight"]
    assert grown.speakers == wanted.speakers
    assert grown.weights_digest == weights_digest(state) != base.weights_digest
    assert (grown.tree().derived.n_speakers, grown.tree().derived.n_symbols) == (3, 5)
    assert Contract.from_dict(grown.to_dict()) == grown
    assert len(weights[SPEAKER_TABLE]) == 3, "what was given is as it was"


def test_a_new_row_starts_from_its_donor(voice: tuple[Contract, dict[str, Tensor]]) -> None:
    base, weights = voice
    _, state = with_lists(base, weights, lists(base, speakers=[*base.speakers, "ann", "bo"]), "小明")
    assert torch.equal(state[SPEAKER_TABLE][3:], weights[SPEAKER_TABLE][[1, 1]])
    assert torch.equal(state[SPEAKER_TABLE][:3], weights[SPEAKER_TABLE])


def test_labels_keep_the_row_of_none_in_front(voice: tuple[Contract, dict[str, Tensor]]) -> None:
    base, weights = voice
    _, state = with_lists(base, weights, lists(base, labels={"emotion": ["sad", "angry", "happy"]}))
    assert torch.equal(state[EMOTIONS][[0, 3, 1]], weights[EMOTIONS])
    torch.testing.assert_close(state[EMOTIONS][2], weights[EMOTIONS][1:].mean(0))


def test_the_same_lists_change_nothing(voice: tuple[Contract, dict[str, Tensor]]) -> None:
    base, weights = voice
    same, state = with_lists(base, weights, Lists.of(base))
    assert all(state[name] is weights[name] for name in weights)
    assert same.weights_digest == base.weights_digest


def test_what_can_not_be_is_told_at_once(voice: tuple[Contract, dict[str, Tensor]]) -> None:
    base, weights = voice[0].replace(style={"name": "labels"}), voice[1]
    wanted = lists(base, speakers=[], labels=base.labels | {"pitch": ["high"]})
    with pytest.raises(UnisonError) as caught:
        with_lists(base, weights, wanted, "teo")
    told = caught.value.problems
    assert told[0] == "donor=teo: no such speaker in the base; the nearest: theo"
    assert "speakers: a voice needs at least one" in told
    assert any(problem.startswith("pitch labels: the base has none") for problem in told)


def test_appended_leaves_the_old_where_they_are() -> None:
    assert appended(["b", "a"], ["c", "a", "d"]) == ["b", "a", "c", "d"]
