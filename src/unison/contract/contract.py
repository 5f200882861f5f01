"""What a checkpoint says about itself: all that is needed to rebuild the model and to speak with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unison.audio.geometry import AudioGeometry
from unison.config.validate import validate
from unison.errors import UnisonError

if TYPE_CHECKING:
    from omegaconf import DictConfig

SCHEMA = 3
"""The schema number that this code writes."""

log = logging.getLogger(__name__)


def _components(values: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 says which parts another run trained; before, a run trained all of its own."""
    return values | {"components": {}}


def _tokenizer(values: dict[str, Any]) -> dict[str, Any]:
    """Schema 3 carries the byte pairs by which a language model reads; before, there was none."""
    return values | {"tokenizer": {}}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _components, 2: _tokenizer}
"""From schema n to n + 1: a function of the contract as primitives."""


@dataclass(frozen=True)
class Contract:
    """A checkpoint's description of itself; primitives only, so that JSON and a torch file hold it alike."""

    config: str
    """The resolved training config as YAML text."""
    speakers: list[str]
    """Names in the order of the model's speaker table: ids are positions and never move."""
    symbols: list[str]
    """Symbols in the order of the model's symbol table."""
    geometry: dict[str, int | float]
    """The fields of `AudioGeometry`."""
    kind: str = "tts"
    """What is inside: `tts` (text to speech), `codec`, `speaker_encoder`, `style_encoder`, `adapters`."""
    family: str = "emotivoice"
    """The model family."""
    labels: dict[str, list[str]] = field(default_factory=dict)
    """Style labels in table order for each class (emotion, pitch, speed, energy), without 'unspecified'."""
    statistics: dict[str, Any] = field(default_factory=dict)
    """Normalisation: means and standard deviations of mel (lists over bands), f0 (Hz) and energy."""
    style: dict[str, Any] = field(default_factory=dict)
    """The style encoder's identity, as the encoder gives it."""
    frontend: dict[str, str] = field(default_factory=dict)
    """The text frontend's `name` and `version`, and the user's own words as `lexicon`, where there are any."""
    tokenizer: dict[str, Any] = field(default_factory=dict)
    """The byte-pair tokenizer of a language model, as :class:`unison.text.bpe.BytePairs` gives it."""
    precision: dict[str, str] = field(default_factory=dict)
    """The precision `asked` for and the one that `ran`."""
    data: dict[str, Any] = field(default_factory=dict)
    """The corpus: `name`, `fingerprint`, `sizes`."""
    weights_digest: str = ""
    """`unison.contract.weights.weights_digest` of the weights to speak with."""
    trained: dict[str, int] = field(default_factory=dict)
    """Steps that each part has learnt, by stage: `acoustic`, `vocoder`, `joint`."""
    parents: list[dict[str, Any]] = field(default_factory=list)
    """Checkpoints that this one came from, or that belong to it: `role`, `digest`, `step` and the like."""
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Parts that another run trained (`vocoder`, `codec`, `speaker_encoder`, `first_stage`, `second_stage`): the
    `digest`, `step` and `weights` of the contract that they learnt under; of those that this run's config does not
    describe also the `model` and `sample_rate`."""
    versions: dict[str, str | bool | None] = field(default_factory=dict)
    """Versions of what wrote it, see `unison.contract.versions`."""
    step: int = 0
    """Training steps done."""
    config_sha256: str = ""
    """SHA-256 of `config`; computed when not given."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if not self.config_sha256:
            object.__setattr__(self, "config_sha256", text_digest(self.config))

    @property
    def content(self) -> str:
        """What is inside, as a message calls it: a voice, a speaker encoder, adapters."""
        return {"tts": "a voice", "adapters": "adapters"}.get(self.kind) or f"a {self.kind.replace('_', ' ')}"

    @property
    def digest(self) -> str:
        """SHA-256 of the contract's canonical JSON, as 64 hexadecimal digits."""
        return json_digest(self.to_dict())

    @property
    def audio(self) -> AudioGeometry:
        """The geometry, typed."""
        return validate(self.geometry, AudioGeometry, "contract.geometry")

    def tree(self) -> DictConfig:
        """The training config, parsed."""
        from omegaconf import DictConfig, OmegaConf

        tree = OmegaConf.create(self.config)
        if not isinstance(tree, DictConfig):
            raise UnisonError("contract.config: expected a YAML mapping")
        return tree

    def replace(self, **changes: Any) -> Contract:
        """A copy with other values; the config's digest follows its text."""
        if "config" in changes:
            changes.setdefault("config_sha256", "")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The contract as primitives."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Contract:
        """The contract from primitives, after migrating older schemas.

        Raises UnisonError that names every problem: fields that are missing, unknown or ill-typed, names that
        occur twice, numbers that are not finite, a config that is not the one its digest was taken of, a
        schema newer than this code.
        """
        contract = validate(migrate(values), cls, "contract")
        problems = _problems(contract)
        if problems:
            raise UnisonError(problems)
        return contract


def migrate(values: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's primitives in today's schema; raises UnisonError for a newer or unknown one."""
    if not isinstance(values, Mapping):
        raise UnisonError(f"contract: expected its fields, found {type(values).__name__}")
    migrated = dict(values)
    schema = migrated.get("schema")
    if type(schema) is not int or schema < 1:
        raise UnisonError(f"contract.schema: expected a number from 1 to {SCHEMA}, found {schema!r}")
    if schema > SCHEMA:
        raise UnisonError(
            f"contract.schema: this checkpoint has schema {schema}, written by unison {_writer(migrated)}; "
            f"this unison reads schemas up to {SCHEMA}: install a newer unison"
        )
    if schema < SCHEMA:
        log.info("contract: schema %d, written by unison %s, read as schema %d", schema, _writer(migrated), SCHEMA)
    while schema < SCHEMA:
        migrated = MIGRATIONS[schema](migrated)
        schema += 1
        migrated["schema"] = schema
    return migrated


def canonical_json(values: Any) -> str:
    """One text for equal values: keys sorted, no spaces, no NaN."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def json_digest(values: Any) -> str:
    """SHA-256 of the values' canonical JSON, in hexadecimal."""
    return text_digest(canonical_json(values))


def text_digest(text: str) -> str:
    """SHA-256 of a text's UTF-8 bytes (lone surrogates included), in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _writer(values: Mapping[str, Any]) -> str:
    versions = values.get("versions")
    return str(versions.get("unison", "?")) if isinstance(versions, Mapping) else "?"


def _problems(contract: Contract) -> list[str]:
    problems = []
    if contract.config_sha256 != text_digest(contract.config):
        problems.append(
            f"contract.config: its SHA-256 is {text_digest(contract.config)[:12]}…, the contract states "
            f"{contract.config_sha256[:12]}…: changed after training; use the original checkpoint"
        )
    lists = {"speakers": contract.speakers, "symbols": contract.symbols}
    lists |= {f"labels.{name}": values for name, values in contract.labels.items()}
    for where, names in lists.items():
        problems += [f"contract.{where}: {name!r} stands at {places}" for name, places in _repeated(names).items()]
    try:
        problems += _geometry_problems(contract.audio)
    except UnisonError as error:
        problems += error.problems
    for where, values in contract.to_dict().items():
        problems += _unstorable(values, f"contract.{where}")
    return problems


def _geometry_problems(geometry: AudioGeometry) -> list[str]:
    sizes = ("sample_rate", "n_fft", "hop_length", "win_length", "n_mels")
    return [
        f"contract.geometry.{name}: expected more than 0, found {getattr(geometry, name)}"
        for name in sizes
        if getattr(geometry, name) <= 0
    ]


def _repeated(names: Sequence[str]) -> dict[str, str]:
    """Names that occur more than once, and where."""
    places: dict[str, list[str]] = {}
    for i, name in enumerate(names):
        places.setdefault(name, []).append(str(i))
    return {name: " and ".join(at) + "; every name stands once" for name, at in places.items() if len(at) > 1}


def _unstorable(value: Any, where: str) -> list[str]:
    """What JSON can't hold, by path."""
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in _unstorable(item, f"{where}.{key}")]
    if isinstance(value, list | tuple):
        return [p for i, item in enumerate(value) for p in _unstorable(item, f"{where}[{i}]")]
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{where}: expected a finite number, found {value}"]
    if value is None or type(value) in (bool, int, float, str):
        return []
    return [f"{where}: expected a primitive, found {type(value).__name__}"]
