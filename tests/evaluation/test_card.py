"""The data card against the corpus itself, counted another way."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import OmegaConf

from tests.conftest import RATE, make_corpus, voice_like
from unison import cli
from unison.audio.geometry import AudioGeometry
from unison.data.manifest import Corpus
from unison.evaluation.card import DataCard, measure
from unison.evaluation.card_page import ADVICE, markdown, page
from unison.prepare import prepare
from unison.prepare.config import DataConfig
from unison.text import frontend

GEOMETRY = AudioGeometry(sample_rate=RATE, n_fft=256, win_length=256, hop_length=64, n_mels=20, fmin=0.0, fmax=RATE / 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Two speakers, a third who is held out, and entries that can't be used."""
    raw = make_corpus(tmp_path_factory.mktemp("card")).parent
    soundfile.write(raw / "carl.wav", voice_like(160, 1.2, RATE, 7), RATE)
    soundfile.write(raw / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(raw / "again.wav", soundfile.read(raw / "anna_0.wav")[0], RATE)
    with (raw / "metadata.csv").open("a") as table:
        table.write("carl.wav,nobody else says this,carl,,\nsilent.wav,zero,anna,,\nlost.wav,a|b,anna,,\n")
        table.write("silent.wav,<b>what</b>,bert,,\n".replace("silent", "again"))
    return DataConfig(
        name="mini <&>",
        corpus="csv",
        raw=str(raw),
        workers=1,
        valid_speakers=["carl"],
        max_reject_share=0.5,
        licence="CC BY 4.0",
    )


@pytest.fixture(scope="module")
def prepared(data: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(data, GEOMETRY, frontend("english"), tmp_path_factory.mktemp("prepared"), progress=False)


@pytest.fixture(scope="module")
def card(data: DataConfig, prepared: Path) -> DataCard:
    return measure(prepared, data)


def test_counts_hours_and_speakers(card: DataCard, prepared: Path) -> None:
    corpus = Corpus(prepared)
    assert card.clips == Counter(u.split for u in corpus.utterances) | {"unused": 0}
    for split in ("train", "valid"):
        assert card.hours[split] == pytest.approx(sum(u.seconds for u in corpus.split(split)) / 3600)
    minutes: Counter[str] = Counter()
    for u in corpus.utterances:
        minutes[u.speaker] += u.seconds / 60
    assert {s.name: s.minutes for s in card.speakers} == pytest.approx(dict(minutes))
    assert [s.name for s in card.speakers] == [name for name, _ in minutes.most_common()]
    assert {s.name: s.clips["train"] > 0 for s in card.speakers} == {"anna": True, "bert": True, "carl": False}


def test_f0_and_rate_are_those_of_the_features(card: DataCard, prepared: Path) -> None:
    corpus = Corpus(prepared)
    by_speaker: dict[str, list[np.ndarray]] = {}
    rates = []
    for u in corpus.utterances:
        by_speaker.setdefault(u.speaker, []).append(corpus.features.f0(u))
        phones = [symbol for symbol in u.symbols if symbol.startswith("[")]
        rates.append(len(phones) / u.seconds)
    half_a_bin = 2 ** (1 / 96)
    for speaker in card.speakers:
        f0 = np.concatenate(by_speaker[speaker.name])
        expected = np.quantile(f0[f0 > 0], [0.05, 0.5, 0.95], method="inverted_cdf")
        np.testing.assert_allclose(np.log(speaker.f0), np.log(expected), atol=np.log(half_a_bin) + 1e-6)
    everything = np.concatenate([f0 for clips in by_speaker.values() for f0 in clips])
    assert card.voiced == pytest.approx((everything > 0).mean())
    assert sum(card.f0.counts) == (everything > 0).sum()
    inside = (everything >= card.f0.edges[7]) & (everything < card.f0.edges[8])
    assert card.f0.counts[7] == inside.sum()
    np.testing.assert_allclose(card.rate.quantiles, np.quantile(rates, [0.05, 0.25, 0.5, 0.75, 0.95]))


def test_symbols_texts_and_labels(card: DataCard, prepared: Path) -> None:
    corpus = Corpus(prepared)
    learnt = Counter(symbol for u in corpus.split("train") for symbol in u.symbols)
    assert {symbol: count for symbol, (count, _) in card.symbols.items()} == {
        symbol: learnt[symbol] for symbol in corpus.symbols[1:]
    }
    assert next(iter(card.symbols)) == learnt.most_common(1)[0][0]
    assert card.labels["emotion"] == {"calm": 8, "glad": 8}
    assert card.shared_texts == len({u.text for u in corpus.split("train")} & {u.text for u in corpus.split("valid")})
    assert "ZH" in card.missing["English"]
    assert card.repeated == 1


def test_rejects_by_reason(card: DataCard) -> None:
    assert [(reject.reason, reject.count) for reject in card.rejects] == [("missing audio", 1), ("silent", 1)]
    assert card.rejects[0].examples[0].startswith("lost: ")
    assert {reject.reason for reject in card.rejects} <= ADVICE.keys()


def test_what_stands_out(card: DataCard) -> None:
    said = " ".join(card.remarks)
    assert "Nothing is said of its source: data.source=… does." in said
    assert "minutes to learn from" in said
    assert "less than 2 minutes: bert, anna." in said
    assert "held out and never learnt" in said
    assert "Clips with the same recording as another: 1." in said
    assert "2 of 20 clips can't be used" in said


def test_markdown_has_all_of_it(card: DataCard) -> None:
    text = markdown(card)
    for expected in ("CC BY 4.0", "not given", card.info.fingerprint, "| anna |", "| missing audio | 1 |", "`[OW0]`"):
        assert expected in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 5
    for rows in tables:
        # a | in a cell is no end of it
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(re.findall(r"\|", rows[0]))}
    many = replace(card, speakers=[replace(card.speakers[0], name=f"p{n}") for n in range(2000)])
    assert "… and 1970 more, with less." in markdown(many)


def test_page_needs_nothing_beside_it_and_texts_are_text(card: DataCard) -> None:
    html = page(card)
    assert not re.search(r"\b(?:src|href|action)\s*=|url\(|@import|<script", html)
    assert "mini &lt;&amp;&gt;" in html
    assert "<&>" not in html
    assert html.count("<svg") == 3
    bars = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', html)]
    assert len(bars) == sum(len(spread.counts) for spread in (card.seconds, card.rate, card.f0))
    assert max(bars) == pytest.approx(148, abs=0.1)
    for name in ("remarks", "held-out", "distributions", "speakers", "symbols", "labels", "rejects"):
        assert html.count(f'<section id="{name}">') == html.count(f'id="{name}"') == 1


def test_a_corpus_without_voice_or_rejects(tmp_path: Path) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    soundfile.write(tmp_path / "a.wav", noise, RATE)
    (tmp_path / "lines.txt").write_text("a|Hush.\n")
    data = DataConfig(name="hush", corpus="csv", raw=str(tmp_path), workers=1)
    card = measure(prepare(data, GEOMETRY, frontend("english"), tmp_path / "out", progress=False), data)
    assert "Nothing is held out" in " ".join(card.remarks)
    for text in (markdown(card), page(card)):
        assert "nan" not in text.casefold().split()


def test_the_command_prepares_and_writes(data: DataConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [f"data.raw={data.raw}", "data.valid_speakers=[carl]", "data.max_reject_share=0.5", "data.workers=1"]
    cli.run(
        "data-card", ["data=csv", "audio=8k", "text=english", f"outputs={tmp_path}", *settings, "data.licence=CC, 0"]
    )
    (written,) = tmp_path.glob("prepared/*/data-card.html")
    assert "CC, 0" in written.read_text()
    assert f"{written}" in capsys.readouterr().out
    cli.run(
        "data-card", ["data=csv", "audio=8k", "text=english", f"outputs={tmp_path}", *settings, f"out={tmp_path}/x"]
    )
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"data-card.md", "data-card.html"}


def test_every_training_has_its_card(run_folder: Path) -> None:
    corpus = Corpus(OmegaConf.load(run_folder / "config.yaml").derived.prepared)
    for ending in ("md", "html"):
        assert corpus.info.fingerprint in (run_folder / f"data-card.{ending}").read_text()


def test_no_corpus_has_no_card(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run("data-card", ["data=none"])
    assert capsys.readouterr().err == "error: data=none: has no recordings; give a corpus, as data=csv data.raw=…\n"
