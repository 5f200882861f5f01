from __future__ import annotations

from typing import Any

import pytest
from contract_helpers import contract

from unison.contract.compare import (
    EQUAL,
    EXTENSION,
    INCOMPATIBLE,
    SECTIONS,
    compare,
    incompatibilities,
    shown,
    told,
    verdict,
)

TREE = """
model: {name: emotivoice, hidden: 8, encoder_heads: 2, encoder_dropout: 0.1, segment_frames: 32}
vocoder: {name: hifigan, upsample_rates: [8, 8]}
trainer: {stages: {acoustic: {steps: 5}}}
seed: 1
"""


def other(text: str = "", new: str = "", **changes: Any) -> Any:
    assert text in TREE
    return contract(config=TREE.replace(text, new) if text else TREE, **changes)


def test_a_contract_equals_itself() -> None:
    assert compare(contract(), contract()) == []
    assert verdict([]) == EQUAL


@pytest.mark.parametrize(
    ("b", "where", "end", "meaning"),
    [
        (other(speakers=["theo", "小明", "lucas", "ann"]), "speakers.3", EXTENSION, "`ann` is new"),
        (other(speakers=["theo", "小明"]), "speakers.2", INCOMPATIBLE, "`lucas` is lost"),
        (
            other(speakers=["theo", "ming", "lucas"]),
            "speakers.1",
            INCOMPATIBLE,
            "`ming` would speak with `小明`'s voice",
        ),
        (
            other(speakers=["lucas", "小明", "theo"]),
            "speakers.0",
            INCOMPATIBLE,
            "speakers 0 and 2 are swapped: `lucas` would speak with `theo`'s voice",
        ),
        (other(symbols=["_", "<sos/eos>", "b", "AA1"]), "symbols.2", INCOMPATIBLE, "`b` would sound as `AA1`"),
        (other(labels={"emotion": ["happy", "sad", "angry"]}), "labels.emotion.2", EXTENSION, "`angry` is new"),
        (
            other(labels={"emotion": ["sad", "happy"]}),
            "labels.emotion.0",
            INCOMPATIBLE,
            "`sad` would be spoken as `happy`",
        ),
        (other("hidden: 8", "hidden: 9"), "model.hidden", INCOMPATIBLE, "compute something else"),
        (other("encoder_dropout: 0.1", "encoder_dropout: 0"), "model.encoder_dropout", EXTENSION, "training alone"),
        (other("hidden: 8", "hidden: 8, guidance: 2"), "model.guidance", EXTENSION, "name no guidance"),
        (other("hidden: 8", "hidden: 8, top_k: 2"), "model.top_k", EXTENSION, "name no top_k"),
        (other("segment_frames: 32", "segment_frames: 16"), "model.segment_frames", EXTENSION, "training alone"),
        (other("[8, 8]", "[4, 16]"), "vocoder.upsample_rates", INCOMPATIBLE, "compute something else"),
        (other("steps: 5", "steps: 6"), "training.trainer.stages.acoustic.steps", EXTENSION, "training alone"),
        (other("seed: 1", "seed: 2"), "training.seed", EXTENSION, "training alone"),
        (other(style={"name": "bert", "digest": "b"}), "style.digest", INCOMPATIBLE, "prompt would mean"),
        (other(frontend={"name": "english", "version": "2"}), "frontend.version", INCOMPATIBLE, "mispronounced"),
        (other(family="metavoice"), "model.family", INCOMPATIBLE, "another model"),
        (other(precision={"asked": "32-true", "ran": "32-true"}), "precision.ran", EXTENSION, "rounding"),
        (other(data={"name": "else"}), "data.name", EXTENSION, "other recordings"),
    ],
)
def test_what_differs_and_what_it_means(b: Any, where: str, end: str, meaning: str) -> None:
    found = compare(other(), b)
    named = {f"{d.section}.{d.field}": d for d in found}
    assert named[where].verdict == end
    assert meaning in named[where].meaning
    assert verdict(found) == end
    assert {d.section for d in found} <= set(SECTIONS)


def test_geometry_says_how_it_would_sound() -> None:
    a = contract()
    half = a.geometry | {"sample_rate": a.geometry["sample_rate"] / 2}
    (found,) = compare(a, a.replace(geometry=half))
    assert found.meaning == "speech would play 0.5 times as fast and as high"
    for field in ("n_fft", "hop_length", "win_length", "n_mels", "fmin", "fmax", "log_floor"):
        (found,) = compare(a, a.replace(geometry=a.geometry | {field: 3}))
        assert (found.section, found.field, found.verdict, found.b) == ("audio", field, INCOMPATIBLE, 3)


def test_statistics_say_by_how_much() -> None:
    a = contract()
    (mel,) = compare(a, a.replace(statistics=a.statistics | {"mel_mean": [0.5, 1.0]}))
    assert "up to 2 nepers" in mel.meaning
    (f0,) = compare(a, a.replace(statistics=a.statistics | {"f0_mean": 170.0}))
    assert "-10 Hz" in f0.meaning


def test_weights_are_compared_where_both_have_some() -> None:
    a, b = contract(weights_digest="1", step=1), contract(weights_digest="2", step=2)
    assert [d.field for d in compare(a, b)] == ["digest", "step"]
    assert verdict(compare(a, b)) == EXTENSION
    assert compare(a, contract(step=0)) == []


def test_where_the_style_encoder_lay_does_not_matter() -> None:
    a, b = (contract(style={"name": "bert", "digest": "x", "path": path}) for path in ("/a", "/b"))
    assert compare(a, b) == []


def test_one_of_many_moved_is_told_row_by_row() -> None:
    names = [f"s{i}" for i in range(6)]
    moved = [*names[1:4], names[0], *names[4:]]
    found = compare(contract(speakers=names), contract(speakers=moved))
    assert [(d.a, d.b) for d in found] == list(zip(names[:4], moved[:4], strict=True))
    assert found[0].meaning == "`s1` would speak with `s0`'s voice"


def test_a_surplus_row_without_a_name() -> None:
    found = compare(contract(speakers=["a", "b", "c"]), contract(speakers=["b", "c"]))
    assert found[-1].meaning == "row 2 has no name left"


def test_values_in_a_line() -> None:
    assert shown(None) == "nothing"
    assert shown(1 / 3) == "0.333333"
    assert shown([1, 2]) == "[1, 2]"
    assert shown(list(range(80))) == "[0, 1, 2, … 79] (80)"
    assert shown("a" * 64) == "a" * 12 + "…"


def test_many_differences_are_told_in_part() -> None:
    a, b = (contract(speakers=[f"{side}{i}" for i in range(13)]) for side in "ab")
    lines = told(incompatibilities(a, b))
    assert len(lines) == 11
    assert lines[0].startswith("speakers.0: a0 against b0: ")
    assert lines[10] == "speakers: and 3 more; `unison diff … format=json` lists them all"


def test_a_stage_that_another_run_trained() -> None:
    def voice(**model: Any) -> Any:
        return contract(components={"first_stage": {"weights": "w", "model": {"hidden": 8, "guidance": 1.5} | model}})

    assert not compare(voice(), voice(top_k=None))
    assert not compare(voice(), contract(components={}))
    (sizes,), (spoken,) = compare(voice(), voice(hidden=16)), compare(voice(), voice(top_k=8))
    assert str(sizes).startswith("stages.first_stage.hidden: 8 against 16: the layers would compute something else")
    assert (sizes.verdict, spoken.verdict) == (INCOMPATIBLE, EXTENSION)
    assert spoken.meaning == "requests that name no top_k would be spoken with another"
