"""Tables whose rows have names: speakers, symbols, style labels. They grow and shrink by name, never by position."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unison.contract.contract import Contract
from unison.contract.weights import weights_digest
from unison.errors import UnisonError

SPEAKER_TABLE = "model.acoustic.speakers.weight"
SPEAKER_VECTORS = "speakers"
"""Of a language model's voice: those of its named speakers, heard from recordings, which do not learn."""
SYMBOL_TABLE = "model.acoustic.symbols.weight"
LABEL_TABLE = "style.tables.{}.weight"
"""Of a style class; its first row is 'unspecified', then come the labels."""


@dataclass(frozen=True)
class Lists:
    """The names of all tables' rows."""

    speakers: list[str]
    symbols: list[str]
    labels: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, contract: Contract) -> Lists:
        """A contract's."""
        return cls(list(contract.speakers), list(contract.symbols), {k: list(v) for k, v in contract.labels.items()})

    def rows(self) -> dict[str, list[str]]:
        """For each table's weight, in whichever family, the names of its rows."""
        tables = {SPEAKER_TABLE: self.speakers, SPEAKER_VECTORS: self.speakers, SYMBOL_TABLE: self.symbols}
        return tables | {LABEL_TABLE.format(name): ["", *labels] for name, labels in self.labels.items()}


def appended(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The old names where they are, behind them the new ones that are not among them."""
    known = set(old)
    return [*old, *(name for name in new if name not in known)]


def with_lists(
    contract: Contract, weights: Mapping[str, Tensor], lists: Lists, donor: str | None = None
) -> tuple[Contract, dict[str, Tensor]]:
    """The same voice with other lists: each name keeps its row, wherever it now stands.

    A new name's row is the mean of all old ones, a new speaker's that of `donor` if one is named.

    Args:
        contract: what the weights say of themselves.
        weights: a state dict as `unison.contract.checkpoint.read_weights` gives it; its tensors are not changed.
        lists: the names to come.
        donor: one of the contract's speakers.

    Raises:
        UnisonError: no such donor; a list without names; labels of a class that the model has no table for.
    """
    before = Lists.of(contract).rows()
    problems = []
    if donor is not None and donor not in contract.speakers:
        near = difflib.get_close_matches(donor, contract.speakers, n=3, cutoff=0.4) or contract.speakers[:5]
        problems.append(f"donor={donor}: no such speaker in the base; the nearest: {', '.join(near)}")
    needed = {"speakers": lists.speakers, "symbols": lists.symbols or not contract.symbols}
    problems += [f"{name}: a voice needs at least one" for name, given in needed.items() if not given]
    if contract.style.get("name") == "labels":
        problems += [
            f"{name} labels: the base has none, so there is no table that could grow"
            for name, labels in lists.labels.items()
            if labels and LABEL_TABLE.format(name) not in weights
        ]
    if problems:
        raise UnisonError(problems)
    grown = dict(weights)
    for table, names in lists.rows().items():
        if table in weights and names != before[table]:
            grown[table] = _rows(weights[table], before[table], names, donor if table == SPEAKER_TABLE else None)
    tree = contract.tree()
    if "derived" in tree:
        tree.derived.n_speakers, tree.derived.n_symbols = len(lists.speakers), len(lists.symbols)
    from omegaconf import OmegaConf

    return contract.replace(
        config=OmegaConf.to_yaml(tree),
        speakers=lists.speakers,
        symbols=lists.symbols,
        labels=lists.labels,
        weights_digest=weights_digest(grown),
    ), grown


def _rows(table: Tensor, before: Sequence[str], names: Sequence[str], donor: str | None) -> Tensor:
    at = {name: i for i, name in enumerate(before)}
    learnt = table[1:] if before[0] == "" else table
    fresh = table[at[donor]] if donor is not None else learnt.float().mean(0).to(table.dtype)
    return torch.stack([table[at[name]] if name in at else fresh for name in names])
