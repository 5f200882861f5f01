"""What every checkpoint of a run will say about itself, and whether a run that goes on still is what it was."""

from __future__ import annotations

import random
from typing import Any

from omegaconf import DictConfig, OmegaConf

from unison.audio.geometry import AudioGeometry
from unison.builders import STYLE_ENCODER
from unison.config.train import TrainConfig, model_name
from unison.contract.compare import incompatibilities, told
from unison.contract.contract import Contract
from unison.contract.tables import Lists
from unison.contract.versions import versions
from unison.data.manifest import Corpus, CorpusInfo
from unison.errors import UnisonError, some
from unison.models.speaker_encoder.config import SpeakerEncoderConfig
from unison.models.style_encoder.reading import folded
from unison.precision import PrecisionPolicy
from unison.style import style_identity
from unison.style.config import LabelStyleConfig
from unison.style.wording import Wording
from unison.text.bpe import BytePairs, normalise
from unison.training.components import Components

KINDS = {
    "emotivoice": ("tts", "emotivoice"),
    "codec": ("codec", "metavoice"),
    "speaker_encoder": ("speaker_encoder", "metavoice"),
    "style_encoder": ("style_encoder", "emotivoice"),
    "metavoice_first": ("tts", "metavoice"),
    "metavoice_second": ("tts", "metavoice"),
}
"""For each model, what its checkpoints hold, and of which family."""
_PROMPTS = 5000
"""Made prompts from which subwords are learnt."""


def new_contract(
    tree: DictConfig,
    config: TrainConfig,
    corpus: Corpus,
    policy: PrecisionPolicy,
    components: Components | None = None,
) -> Contract:
    """What every checkpoint of the run will say about itself; `components` are what it builds on."""
    info = corpus.info
    replay = config.speakers.replay
    replayed = {} if replay is None else {"replayed": CorpusInfo.read(replay).fingerprint}
    parts = {
        name: {"fingerprint": part["fingerprint"], "weight": config.data.corpora[name].weight, **part["sizes"]}
        for name, part in info.parts.items()
    }
    kind, family = KINDS[model_name(config.model)]
    read: dict[str, Any] = {"speakers": [], "symbols": []}
    embedded = {} if components is None else {name: part.identity for name, part in components.parts.items()}
    if kind == STYLE_ENCODER:
        wording = Wording(corpus.labels)
        read["labels"] = wording.labels
        if config.model.bert is None:
            read["tokenizer"] = _tokenizer_of_prompts(wording, corpus, config.model.subwords)
        else:
            read["style"] = embedded["bert"]
    elif family == "emotivoice":
        if isinstance(config.style, LabelStyleConfig) and config.init_from is None and not any(corpus.labels.values()):
            raise UnisonError(
                "style=labels: no clip of this corpus has a label; data.labels=computed gives pitch, speed and energy,"
                " columns emotion, pitch, speed and energy your own"
            )
        read = {
            "speakers": list(corpus.speakers),
            "symbols": list(corpus.symbols),
            "labels": {name: list(values) for name, values in corpus.labels.items()},
            "statistics": dict(vars(corpus.statistics)),
            "style": style_identity(config.style, corpus.labels, embedded.get(STYLE_ENCODER)),
            "components": embedded,
            "frontend": info.frontend_identity,
        }
    elif components is not None:
        read["speakers"] = list(corpus.speakers)
        read["tokenizer"] = components.tokenizer or _learnt_tokenizer(corpus, config.model.text_tokens)
        read["components"] = embedded
        read["statistics"] = _reading(corpus, BytePairs.from_dict(read["tokenizer"]), config.model.joined_seconds)
    return Contract(
        config=OmegaConf.to_yaml(tree, resolve=True),
        kind=kind,
        family=family,
        **read,
        geometry=dict(vars(heard(config))),
        precision={"asked": policy.asked, "ran": policy.ran},
        data={"name": info.name, "fingerprint": info.fingerprint, "sizes": info.sizes, "seconds": info.seconds}
        | ({"parts": parts} if parts else {})
        | replayed,
        versions=versions(),
    )


def heard(config: TrainConfig) -> AudioGeometry:
    """How a run's model hears: a speaker encoder at a rate of its own, whatever the corpus's."""
    return config.model.geometry if isinstance(config.model, SpeakerEncoderConfig) else config.audio


def _tokenizer_of_prompts(wording: Wording, corpus: Corpus, size: int) -> dict[str, Any]:
    """Byte pairs of made prompts and of the corpus's own."""
    own = {utterance.style.get("prompt", "") for utterance in corpus.split("train")}
    made = (wording.example(random.Random(number)).text for number in range(_PROMPTS))
    return BytePairs.train([folded(text) for text in (*made, *sorted(own))], size).to_dict()


def _learnt_tokenizer(corpus: Corpus, size: int) -> dict[str, Any]:
    """Byte pairs of the texts that are learnt from."""
    return BytePairs.train(sorted({utterance.text for utterance in corpus.learnt()}), size).to_dict()


def _reading(corpus: Corpus, tokenizer: BytePairs, joined_seconds: float) -> dict[str, Any]:
    """How long what is learnt from takes, of a token of its text and at most: what a voice can be expected to say.

    And the characters of the texts: what it can be expected to read.
    """
    learnt = corpus.learnt()
    tokens = sum(len(tokenizer.encode(utterance.text)) for utterance in learnt)
    return {
        "seconds_per_token": round(sum(utterance.seconds for utterance in learnt) / max(tokens, 1), 6),
        "longest_seconds": max(joined_seconds, max(utterance.seconds for utterance in learnt)),
        "characters": "".join(sorted({character for u in learnt for character in normalise(u.text)})),
    }


def continued(contract: Contract, before: Contract) -> Contract:
    """The resumed run's contract: the one that it had, if what now shapes the model and the data is the same.

    Raises:
        UnisonError: the corpus or the settings are not what the run was trained on so far.
    """
    here, there = Lists.of(contract), Lists.of(before)
    missing = {
        "speakers": set(here.speakers) - set(there.speakers),
        "symbols": set(here.symbols) - set(there.symbols),
    }
    if contract.style.get("name") == "labels":
        missing |= {f"{name} labels": set(own) - set(there.labels.get(name, [])) for name, own in here.labels.items()}
    problems = [f"{what}: {some(sorted(names))} new since" for what, names in missing.items() if names]
    now = contract.replace(components=before.components, tokenizer=before.tokenizer)
    if any(parent.get("role") == "init_from" for parent in before.parents):
        # the lists and scales are the base's, grown: the corpus's own need not be the same, only among them
        now = now.replace(
            speakers=before.speakers, symbols=before.symbols, labels=before.labels, statistics=before.statistics
        )
        if contract.style.get("name") == "labels":
            now = now.replace(style=before.style)
    problems += told(incompatibilities(before, now))
    for what in ("fingerprint", "replayed"):
        was, now_is = before.data.get(what, ""), contract.data.get(what, "")
        if was != now_is:
            problems.append(f"{what}: {was[:12]} before, {now_is[:12]} now: its clips or texts differ")
    if problems:
        hint = "; bring it back to what it was, or start a new run with name=…"
        raise UnisonError(
            [f"the corpus {contract.data['name']} has changed since: {problem}{hint}" for problem in problems]
        )
    return now.replace(parents=before.parents)


def same_corpus(info: CorpusInfo, before: Contract) -> None:
    """Look at a corpus that is about to be prepared anew for a run that goes on.

    Raises:
        UnisonError: it is not what the run was trained on so far, as :func:`continued` has it.
    """
    now = before.replace(data=before.data | {"fingerprint": info.fingerprint})
    if before.speakers:
        now = now.replace(speakers=list(info.speakers))
    if before.symbols:
        now = now.replace(
            symbols=list(info.symbols),
            labels={name: list(values) for name, values in info.labels.items()},
            statistics=dict(vars(info.statistics)),
            frontend=info.frontend_identity,
        )
    continued(now, before)
