"""How labels are asked for in words, in English and Chinese: prompts without end, from the phrases beside this module.

Phrases and templates are data: ``words_<language>.txt`` has phrases by label and form, ``templates_<language>.txt``
requests with a slot of one form, ``neutral.txt`` what asks for nothing. ``held_out.txt`` is never learnt: by it is
judged what was.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from unison.errors import UnisonError
from unison.models.style_encoder.reading import folded
from unison.style.config import CLASSES

LANGUAGES = ("en", "zh")
FORMS = ("adjective", "adverb", "noun", "clause")

Labels = Mapping[str, str]
"""A label for each class that is asked for."""
Phrases = dict[tuple[str, str], dict[str, list[str]]]
"""By class and label, phrases by form."""

_CLASS_NAMES = {
    "en": {
        "emotion": ("emotion", "mood"),
        "pitch": ("pitch", "tone"),
        "speed": ("speed", "pace", "rate", "tempo"),
        "energy": ("energy", "volume", "loudness"),
    },
    "zh": {
        "emotion": ("情绪", "情感", "语气"),
        "pitch": ("音调", "音高", "声调"),
        "speed": ("语速", "速度"),
        "energy": ("音量", "能量", "响度"),
    },
}
_INTENSIFIERS = {
    "en": ("very", "really", "quite", "rather", "slightly", "a bit", "a little", "extremely", "pretty", "so", "too"),
    "zh": ("很", "非常", "特别", "有点", "比较", "稍微", "十分", "更", "极其", "相当"),
}
_COMPARATIVES = ("much", "a bit", "a little", "even", "slightly", "still")
_JOINTS = {
    "en": (", ", ", ", " and ", ", and ", "; ", " but ", ". ", " "),
    "zh": ("，", "，", "，", "、", "；", "而且", "，并且", "，同时", "。", " ", "但"),
}
_SHORT_JOINTS = {"en": (", ", " and ", ", ", " but ", " "), "zh": ("、", "而", "，", "又", "且", "而又")}
_ENDS = {"en": ("", "", "", ".", "!"), "zh": ("", "", "", "。", "！")}
_HOW_MANY = (0, 1, 2, 3, 4)
_HOW_OFTEN = (8, 36, 33, 15, 8)
"""Of prompts that ask for so many labels."""


@dataclass(frozen=True)
class Example:
    """A prompt, and what it asks for."""

    text: str
    labels: dict[str, str]


class Wording:
    """Prompts for the labels that there are phrases for, and for others by their own names."""

    def __init__(self, own: Mapping[str, Sequence[str]] | None = None) -> None:
        """Know the standard labels, and a corpus's `own` by class, as far as they are no other names of these."""
        self._phrases = {language: dict(_phrases(language)) for language in LANGUAGES}
        self._neutral = _lines("neutral.txt")
        self.labels: dict[str, list[str]] = {name: [] for name in CLASSES}
        """Labels by class: the standard ones, then a corpus's own."""
        for name, label in self._phrases["en"]:
            self.labels[name].append(label)
        for name in CLASSES:
            for label in (own or {}).get(name, ()):
                if self.standard(name, label) is None:
                    self.labels[name].append(label)
                    for phrases in self._phrases.values():
                        phrases[name, label] = {form: [label] for form in FORMS}

    def standard(self, name: str, label: str) -> str | None:
        """The label of a class that this is a name of (glad is happy, 高 is high); None when it is of none."""
        if label in self.labels[name]:
            return label
        plain = label.strip().casefold()
        for phrases in self._phrases.values():
            for (kind, known), forms in phrases.items():
                if kind == name and any(plain in forms[form] for form in FORMS):
                    return known
        return None

    def standardised(self, labels: Labels) -> dict[str, str]:
        """Labels by their standard names; those that are unknown are left out."""
        found = {name: self.standard(name, labels[name]) for name in CLASSES if labels.get(name)}
        return {name: label for name, label in found.items() if label is not None}

    def example(self, draw: random.Random) -> Example:
        """A prompt for labels by chance, none that is held out; one in a dozen asks for nothing."""
        count = draw.choices(_HOW_MANY, _HOW_OFTEN)[0]
        labels = {name: draw.choice(self.labels[name]) for name in draw.sample(CLASSES, count)}
        while folded(text := self.prompt(labels, draw)) in _held_out_texts():
            pass
        return Example(text, labels)

    def prompt(self, labels: Labels, draw: random.Random) -> str:
        """Words that ask for these labels, in an order and a language by chance; for none, what asks for nothing."""
        if not labels:
            return draw.choice(self._neutral)
        language = draw.choice(LANGUAGES)
        asked = list(labels.items())
        draw.shuffle(asked)
        way = draw.random()
        if way < 0.06:
            text = self._table(asked, language, draw)
        elif way < 0.4 and len(asked) > 1:
            text = self._one_request(asked, language, draw)
        else:
            text = self._requests(asked, language, draw)
        if draw.random() < 0.08:
            own = [line for line in self._neutral if line.isascii() == (language == "en")]
            pieces = [text, draw.choice(own)]
            draw.shuffle(pieces)
            text = draw.choice(_JOINTS[language][:2]).join(pieces)
        if language == "en" and draw.random() < 0.08:
            text = _mistyped(text, draw)
        return text + draw.choice(_ENDS[language])

    def _word(self, asked: tuple[str, str], form: str, language: str, draw: random.Random) -> str:
        """A phrase of a form, sometimes with how much of it."""
        phrase = draw.choice(self._phrases[language][asked][form])
        if form in ("adjective", "adverb") and draw.random() < 0.25:
            if language == "zh":
                return draw.choice(_INTENSIFIERS["zh"]) + phrase if len(phrase) < 3 else phrase
            if " " not in phrase:
                by = _COMPARATIVES if phrase.endswith("er") else _INTENSIFIERS["en"]
                return f"{draw.choice(by)} {phrase}"
        if form == "noun" and language == "en" and phrase.startswith("a ") and draw.random() < 0.2:
            return f"a {draw.choice(_INTENSIFIERS['en'][:4])} {phrase[2:]}"
        return phrase

    def _requests(self, asked: Sequence[tuple[str, str]], language: str, draw: random.Random) -> str:
        """A request for each, joined; those that follow are as often mere phrases."""
        templates = _lines(f"templates_{language}.txt")
        bare = [template for template in templates if template.startswith("{") or template.startswith("with {")]
        parts = []
        for number, one in enumerate(asked):
            template = draw.choice(bare if number and draw.random() < 0.5 else templates)
            form = _form(template)
            parts.append(template.replace(f"{{{form}}}", self._word(one, form, language, draw)))
        text = parts[0]
        for part in parts[1:]:
            text += draw.choice(_JOINTS[language]) + part
        return text

    def _one_request(self, asked: Sequence[tuple[str, str]], language: str, draw: random.Random) -> str:
        """One request whose slot takes all of them: in a high, fast voice."""
        template = draw.choice(_lines(f"templates_{language}.txt"))
        form = _form(template)
        words = [self._word(one, form, language, draw) for one in asked]
        joints = _JOINTS if form == "clause" else _SHORT_JOINTS
        text = words[0]
        for word in words[1:]:
            text += draw.choice(joints[language]) + word
        return template.replace(f"{{{form}}}", text)

    def _table(self, asked: Sequence[tuple[str, str]], language: str, draw: random.Random) -> str:
        """Labels as a table has them: speed: fast, pitch: high."""
        equals, comma = draw.choice((("=", ", "), (": ", ", "), (" ", ", "), ("：", "，")))
        entries = []
        for name, label in asked:
            word = label if language == "en" else draw.choice(self._phrases["zh"][name, label]["adjective"])
            entries.append(f"{draw.choice(_CLASS_NAMES[language][name])}{equals}{word}")
        return comma.join(entries)


@cache
def held_out() -> list[Example]:
    """Prompts that are never learnt, with what they ask for."""
    return _examples(_lines("held_out.txt"), "held_out.txt")


def read_examples(path: Path) -> list[Example]:
    """Prompts of a file, one a line, each with a tab and its labels behind it, as speed=fast pitch=high.

    Raises:
        UnisonError: it can't be read, with every line that is not so.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnisonError(f"{path}: can't be read as UTF-8 text ({error})") from error
    return _examples([line for line in content.splitlines() if line.strip() and not line.startswith("#")], str(path))


def _examples(lines: Iterable[str], source: str) -> list[Example]:
    examples, problems = [], []
    for line in lines:
        text, _, listed = line.partition("\t")
        pairs = [label.partition("=")[::2] for label in listed.split()]
        if not pairs or not all(name in CLASSES and label for name, label in pairs):
            problems.append(
                f"{source}: {line!r}: expected a prompt, a tab and labels of {', '.join(CLASSES)}, as pitch=high"
            )
        examples.append(Example(text, dict(pairs)))
    if problems:
        raise UnisonError(problems)
    return examples


@cache
def _held_out_texts() -> frozenset[str]:
    return frozenset(folded(example.text) for example in held_out())


@cache
def _lines(name: str) -> list[str]:
    content = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return [line for line in content.splitlines() if line and not line.startswith("#")]


@cache
def _phrases(language: str) -> Phrases:
    phrases: Phrases = {}
    for line in _lines(f"words_{language}.txt"):
        if not line.startswith(" "):
            name, label = line.split()
            phrases[name, label] = {}
        else:
            form, _, listed = line.strip().partition(": ")
            phrases[name, label][form] = [phrase.strip() for phrase in listed.split(";")]
    return phrases


def _form(template: str) -> str:
    match = re.search(r"\{(\w+)\}", template)
    assert match is not None, template
    return match[1]


def _mistyped(text: str, draw: random.Random) -> str:
    """With a letter left out, or two swapped, within a long word."""
    places: Iterable[int] = (m.start() for m in re.finditer(r"(?<=[a-z]{2})[a-z](?=[a-z]{2})", text))
    if not (inner := list(places)):
        return text
    place = draw.choice(inner)
    if draw.random() < 0.5:
        return text[:place] + text[place + 1 :]
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
