"""Two contracts, section by section: what differs, and what a listener would hear of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unison.contract.contract import Contract

EQUAL, EXTENSION, INCOMPATIBLE = VERDICTS = ("equal", "compatible extension", "incompatible")
"""From best to worst; their places are the exit codes of ``unison diff``."""

SECTIONS = (
    "speakers",
    "symbols",
    "labels",
    "audio",
    "statistics",
    "frontend",
    "style",
    "model",
    "stages",
    "vocoder",
    "codec",
    "speaker_encoder",
    "tokenizer",
    "precision",
    "data",
    "training",
    "weights",
)

SPOKEN_WITH = ("guidance", "top_k")
"""Of a language model's settings, those that a request takes which says nothing of them."""
_MOST = 10
"""Differences of a section that a message tells one by one."""


@dataclass(frozen=True)
class Difference:
    """One field in which two contracts differ."""

    section: str
    """One of :data:`SECTIONS`."""
    field: str
    a: Any
    """The first's value; None where it has none."""
    b: Any
    """The second's."""
    verdict: str
    """Whether weights learnt under the first still mean the same under the second: one of :data:`VERDICTS`."""
    meaning: str
    """What that would sound like."""

    def __str__(self) -> str:
        return f"{self.section}.{self.field}: {shown(self.a)} against {shown(self.b)}: {self.meaning}"


def compare(a: Contract, b: Contract) -> list[Difference]:
    """Every difference, in the order of :data:`SECTIONS`; what a voice of `a` would do under `b`."""
    x, y = a.tree(), b.tree()
    found = [
        *_names("speakers", a.speakers, b.speakers, "`{b}` would speak with `{a}`'s voice"),
        *_names("symbols", a.symbols, b.symbols, "`{b}` would sound as `{a}`"),
        *_labels(a, b),
        *_fields("audio", a.geometry, b.geometry, _audio_meaning, free=_LOSSES if a.kind == "codec" else _NONE),
        *_fields("statistics", a.statistics, b.statistics, _statistics_meaning, free=_PACE.__contains__),
        *_fields("frontend", a.frontend, b.frontend, _frontend_meaning, free="lexicon".__eq__),
        *_fields("style", _identity(a), _identity(b), "a prompt would mean something else to the model"),
        *_fields("model", {"kind": a.kind, "family": a.family}, {"kind": b.kind, "family": b.family}, "another model"),
        *_fields("model", _leaves(x.get("model")), _leaves(y.get("model")), _model_meaning, free=_WEIGHTLESS),
        *_stages(a, b),
        *_fields("vocoder", _leaves(x.get("vocoder")), _leaves(y.get("vocoder")), _LAYERS),
        *_part("codec", a, b, "the codes would stand for other sounds: noise"),
        *_part("speaker_encoder", a, b, "the vectors would stand for other voices"),
        *_fields("tokenizer", a.tokenizer, b.tokenizer, "the tokens would stand for other letters"),
        *_fields("precision", a.precision, b.precision, "rounding differs; `unison compare` measures it", free=_ALL),
        *_fields("data", a.data, b.data, "learnt from other recordings", free=_ALL),
    ]
    for name in ("trainer", "finetune", "losses", "optim", "discriminator", "seed"):
        there, here = _leaves(x.get(name)), _leaves(y.get(name))
        found += _fields("training", there, here, _TRAINING, free=_ALL, prefix=name)
    if a.weights_digest and b.weights_digest:
        there, here = ({"digest": contract.weights_digest, "step": contract.step} for contract in (a, b))
        found += _fields("weights", there, here, "other values: learnt to another point, grown or pruned", free=_ALL)
    return found


def verdict(differences: Sequence[Difference]) -> str:
    """The worst of the differences' verdicts."""
    return max((difference.verdict for difference in differences), key=VERDICTS.index, default=EQUAL)


def incompatibilities(a: Contract, b: Contract, sections: Sequence[str] = SECTIONS) -> list[Difference]:
    """What keeps the weights of `a` from meaning the same under `b`, in these sections."""
    return [d for d in compare(a, b) if d.verdict == INCOMPATIBLE and d.section in sections]


def told(differences: list[Difference]) -> list[str]:
    """The differences in lines of a message, those of a section beyond the first few in one."""
    lines = []
    for section in SECTIONS:
        own = [difference for difference in differences if difference.section == section]
        lines += [str(difference) for difference in own[:_MOST]]
        if len(own) > _MOST:
            lines.append(f"{section}: and {len(own) - _MOST} more; `unison diff … format=json` lists them all")
    return lines


def shown(value: Any) -> str:
    """A value in a line: long lists by their length and ends, texts cut."""
    if value is None:
        return "nothing"
    if isinstance(value, list) and len(value) > 8:
        return f"[{', '.join(map(shown, value[:3]))}, … {shown(value[-1])}] ({len(value)})"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


# -- what the fields mean ----------------------------------------------------------------------------------------------


def _ALL(field: str) -> bool:
    return True


def _NONE(field: str) -> bool:
    return False


def _WEIGHTLESS(field: str) -> bool:
    """Of a model's settings, those that its weights do not depend on."""
    codebooks = ("codebook_decay", "revive_below", "rotation_trick")
    # where a BERT was found says nothing of it; its settings and weights are compared
    sizes = ("dropout", "joined_seconds", "segment_frames", "max_duration", *codebooks)
    return field in ("bert", *SPOKEN_WITH) or field.endswith(sizes)


def _LOSSES(field: str) -> bool:
    """Of a codec's audio geometry, what its losses alone are taken by: it reads no mels."""
    return field != "sample_rate"


_TRAINING = "matters to training alone"
_LAYERS = "the layers would compute something else with the same weights"

_AUDIO = {
    "n_fft": "mels would be taken over another window: a blurred or smeared voice",
    "win_length": "mels would be taken over another window: a blurred or smeared voice",
    "n_mels": "the mel has another number of bands: the weights do not fit",
    "fmin": "every band would stand for another frequency: formants shift",
    "fmax": "every band would stand for another frequency: formants shift",
    "log_floor": "silence would lie at another level: noise or holes in pauses",
}


def _audio_meaning(field: str, a: Any, b: Any) -> str:
    if field == "sample_rate" and a and b:
        return f"speech would play {b / a:.3g} times as fast and as high"
    if field == "hop_length" and a and b:
        return f"frames would last {b / a:.3g} times as long, and speech with them"
    return _AUDIO.get(field, "mels would be something else")


def _model_meaning(field: str, a: Any, b: Any) -> str:
    if field in SPOKEN_WITH:
        return f"requests that name no {field} would be spoken with another"
    return _TRAINING if _WEIGHTLESS(field) else _LAYERS


_PACE = ("seconds_per_token", "longest_seconds", "characters")
"""Of a language model's statistics, by what its text is cut and read, and its end awaited."""


def _statistics_meaning(field: str, a: Any, b: Any) -> str:
    if field in _PACE:
        return "texts would be cut into pieces of another length, or read in other characters"
    if field.startswith("f0") and a is not None and b is not None:
        return f"the pitch that is asked for would come out on another scale ({b - a:+.3g} Hz)"
    if field.startswith("energy"):
        return "loudness within a sentence would come out on another scale"
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        worst = max((abs(x - y) for x, y in zip(a, b, strict=True)), default=0.0)
        return f"mels would be off by up to {worst:.3g} nepers in a band: another timbre and loudness"
    return "mels would be off: another timbre and loudness"


def _frontend_meaning(field: str, a: Any, b: Any) -> str:
    if field == "lexicon":
        return "some words would be pronounced otherwise"
    if field == "version":
        return "the same text may be read as other symbols: mispronounced words"
    return "text would be read as another language's symbols"


# -- comparing ---------------------------------------------------------------------------------------------------------


def _fields(
    section: str,
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    meaning: str | Callable[[str, Any, Any], str],
    free: Callable[[str], bool] = _NONE,
    prefix: str = "",
) -> Iterator[Difference]:
    """Fields whose values differ; those that are `free` change nothing of what is heard of the same weights."""
    for field in sorted(a.keys() | b.keys()):
        x, y = a.get(field), b.get(field)
        if x != y:
            said = meaning if isinstance(meaning, str) else meaning(field, x, y)
            if free(field) and meaning is _audio_meaning:
                said = _TRAINING
            name = ".".join(part for part in (prefix, field) if part)
            yield Difference(section, name, x, y, EXTENSION if free(field) else INCOMPATIBLE, said)


def _names(section: str, a: Sequence[str], b: Sequence[str], heard: str, field: str = "") -> Iterator[Difference]:
    """How two tables differ whose rows are known by position: what is appended is an extension, all else is not."""
    prefix = f"{field}." if field else ""
    at = {name: i for i, name in enumerate(a)}
    swapped: set[int] = set()
    for i, (old, new) in enumerate(zip(a, b, strict=False)):
        if old == new or i in swapped:
            continue
        j = at.get(new, -1)
        if i < j < len(b) and b[j] == old:
            swapped.add(j)
            said = f"{section} {i} and {j} are swapped: " + heard.format(a=old, b=new)
        else:
            said = heard.format(a=old, b=new)
        yield Difference(section, f"{prefix}{i}", old, new, INCOMPATIBLE, said)
    for i, name in enumerate(a[len(b) :], len(b)):
        lost = f"row {i} has no name left" if name in set(b) else f"`{name}` is lost: row {i} has no name"
        yield Difference(section, f"{prefix}{i}", name, None, INCOMPATIBLE, lost)
    for i, name in enumerate(b[len(a) :], len(a)):
        new_name = name not in at
        said = f"`{name}` is new and has learnt nothing" if new_name else f"`{name}` has moved from row {at[name]}"
        yield Difference(section, f"{prefix}{i}", None, name, EXTENSION if new_name else INCOMPATIBLE, said)


def _labels(a: Contract, b: Contract) -> Iterator[Difference]:
    heard = "`{b}` would be spoken as `{a}`"
    for name in sorted(a.labels.keys() | b.labels.keys()):
        yield from _names("labels", a.labels.get(name, []), b.labels.get(name, []), heard, name)


def _part(name: str, a: Contract, b: Contract, heard: str) -> Iterator[Difference]:
    """A part that other runs trained, by its weights and by the rate of what it hears."""
    x, y = (
        {key: c.components.get(name, {}).get(key) for key in ("weights", "sample_rate")}
        if c.components.get(name)
        else {}
        for c in (a, b)
    )
    return _fields(name, x, y, heard)


def _stages(a: Contract, b: Contract) -> Iterator[Difference]:
    """The stages that another run trained, where both voices have them."""
    for stage in ("first_stage", "second_stage"):
        x, y = (c.components.get(stage, {}).get("model") for c in (a, b))
        if x and y:
            yield from _fields("stages", x, y, _model_meaning, free=_WEIGHTLESS, prefix=stage)


def _identity(contract: Contract) -> dict[str, Any]:
    """The style encoder without the path at which it was found."""
    return {key: value for key, value in contract.style.items() if key != "path"}


def _leaves(node: Any) -> dict[str, Any]:
    """A part of a config tree as a flat dict with dotted names; a value alone has the empty name."""
    from omegaconf import OmegaConf

    if not OmegaConf.is_config(node):
        return {"": node}
    flat: dict[str, Any] = {}

    def walk(value: Any, where: str) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                walk(item, f"{where}.{name}" if where else str(name))
        else:
            flat[where] = value

    walk(OmegaConf.to_container(node, resolve=True), "")
    return flat
