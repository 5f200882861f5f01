"""Prompts for labels: made of data files, in two languages, and never those that are held out."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.models.style_encoder.reading import folded
from unison.style.config import CLASSES
from unison.style.wording import FORMS, LANGUAGES, Example, Wording, _phrases, held_out, read_examples


@pytest.fixture(scope="module")
def wording() -> Wording:
    return Wording()


def test_the_data_files_have_every_label_in_every_form_of_both_languages(wording: Wording) -> None:
    assert wording.labels["emotion"] == ["normal", "happy", "angry", "sad", "surprised", "disgusted", "fearful"]
    assert [len(wording.labels[name]) for name in CLASSES] == [7, 3, 3, 3]
    english, chinese = (_phrases(language) for language in LANGUAGES)
    assert list(english) == list(chinese)
    for phrases in (english, chinese):
        for forms in phrases.values():
            assert set(forms) == set(FORMS)
            assert all(phrase for own in forms.values() for phrase in own)
    # a phrase has one meaning in its class: fast is never slow
    for phrases in (english, chinese):
        for name in CLASSES:
            of_label = {
                label: {p for form in FORMS for p in forms[form]}
                for (kind, label), forms in phrases.items()
                if kind == name
            }
            for one, own in of_label.items():
                for other, theirs in of_label.items():
                    assert one == other or not own & theirs, (name, one, other, own & theirs)


def test_a_prompt_names_each_label_and_no_other(wording: Wording) -> None:
    draw = random.Random(0)
    labels = {"speed": "fast", "pitch": "low"}
    for _ in range(300):
        text = wording.prompt(labels, draw).casefold()
        for name, label in labels.items():
            own = [p for language in LANGUAGES for form in FORMS for p in _phrases(language)[name, label][form]]
            # a mistyped word is no phrase any more, but its neighbours are
            assert any(p.casefold() in text for p in [*own, label]) or any(p.casefold()[:4] in text for p in own), text


def test_examples_are_by_chance_and_follow_from_it(wording: Wording) -> None:
    first, again = ([wording.example(random.Random(f"7/{i}")) for i in range(400)] for _ in range(2))
    assert first == again
    assert len({example.text for example in first}) > 390 * 0.9
    assert sum(not example.text.isascii() for example in first) > 120
    assert {len(example.labels) for example in first} == {0, 1, 2, 3, 4}
    assert not {folded(e.text) for e in first} & {folded(e.text) for e in held_out()}


def test_held_out_prompts_are_of_known_labels(wording: Wording) -> None:
    examples = held_out()
    assert len(examples) > 70
    assert {"speak fast, high voice", "说慢一点，低沉"} <= {example.text for example in examples}
    for example in examples:
        assert example.labels
        assert all(label in wording.labels[name] for name, label in example.labels.items()), example


def test_a_held_out_prompt_is_drawn_anew(wording: Wording, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter(["Speak LOUDER ", "speak louder!"])
    monkeypatch.setattr(wording, "prompt", lambda labels, draw: next(texts))
    assert "speak louder" in {folded(example.text) for example in held_out()}
    assert wording.example(random.Random(0)).text == "speak louder!"


@pytest.mark.parametrize(
    ("name", "label", "standard"),
    [
        ("emotion", "happy", "happy"),
        ("emotion", "Glad", "happy"),
        ("emotion", "生气", "angry"),
        ("pitch", "高", None),
        ("pitch", "高音", "high"),
        ("speed", "rapid", "fast"),
        ("energy", "rapid", None),
    ],
)
def test_names_of_labels(wording: Wording, name: str, label: str, standard: str | None) -> None:
    assert wording.standard(name, label) == standard


def test_a_corpus_brings_labels_of_its_own() -> None:
    wording = Wording({"emotion": ["glad", "robotic"], "speed": ["fast"]})
    assert wording.labels["emotion"][-2:] == ["fearful", "robotic"]
    assert wording.labels["speed"] == ["slow", "normal", "fast"]
    assert wording.standardised({"emotion": "glad", "speed": "", "pitch": "odd"}) == {"emotion": "happy"}
    assert "robotic" in wording.prompt({"emotion": "robotic"}, random.Random(0))


def test_prompts_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# mine\nspeak up\tenergy=high\n\n快\tspeed=fast pitch=low\n", encoding="utf-8")
    assert read_examples(path) == [
        Example("speak up", {"energy": "high"}),
        Example("快", {"speed": "fast", "pitch": "low"}),
    ]
    path.write_text("speak up\nx\tloudness=high\ny\tenergy=\n")
    with pytest.raises(UnisonError) as error:
        read_examples(path)
    assert len(error.value.problems) == 3
    assert error.value.problems[0].startswith(f"{path}: 'speak up': expected a prompt, a tab and labels of emotion")
    with pytest.raises(UnisonError, match="can't be read"):
        read_examples(tmp_path / "nothing.txt")
