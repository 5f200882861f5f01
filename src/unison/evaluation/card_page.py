"""A data card to read: as Markdown, and as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from unison.config.tools import DataCardConfig
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.evaluation.card import FRACTIONS, DataCard, Distribution, SpeakerFigures, measure
from unison.evaluation.html import document, facts
from unison.evaluation.pictures import histogram, ticks
from unison.files import write_text
from unison.prepare.corpora import NONE
from unison.prepare.run import prepare_corpus
from unison.prepare.splits import UNUSED

ADVICE = {
    "missing audio": "name the file that is there, or add it",
    "missing text": "write it into a .txt file beside the recording",
    "no text": "write down what is said",
    "unreadable": "export it again as WAV or FLAC",
    "unreadable text": "save it as UTF-8",
    "empty": "record it again",
    "silent": "record it again: nothing, or next to nothing, is on it",
    "NaN": "export it again",
    "beyond full scale": "scale it down: full scale is 1",
    "clipped throughout": "record it again, softer: what is cut off can't be mended",
    "too short": "join it with its neighbour, or lower data.min_seconds",
    "too long": "cut it at a pause, or raise data.max_seconds",
    "too short for its symbols": "its text is likely another clip's, or the recording stops too early",
    "unknown symbols": "spell it out in letters that text=… reads, or choose another text=…",
}
"""What to do about a reject, by its reason."""
NAME = "data-card"
SPEAKERS = 30
"""That a Markdown card lists; the page lists all."""
RAREST = 30
"""Symbols that a Markdown card lists."""
_F0_MARKS = (60, 80, 100, 150, 200, 300, 400, 500)


def data_card(cfg: DictConfig) -> None:
    """``unison data-card``: prepare the corpus where needed, and write its card.

    Raises:
        UnisonError: there is no corpus, or it can't be prepared.
    """
    config = validate(cfg, DataCardConfig)
    if config.data.corpus == NONE:
        raise UnisonError(f"data={config.data.name}: has no recordings; give a corpus, as data=csv data.raw=…")
    prepared = prepare_corpus(config)
    card = measure(prepared, config.data)
    for remark in card.remarks:
        print(f"- {remark}")
    for path in write_card(card, Path(config.out) if config.out else prepared):
        print(path)


def write_card(card: DataCard, folder: Path) -> tuple[Path, Path]:
    """Write the card as Markdown and as HTML into a folder; returns the two files."""
    written = folder / f"{NAME}.md", folder / f"{NAME}.html"
    write_text(written[0], markdown(card))
    write_text(written[1], page(card))
    return written


def markdown(card: DataCard) -> str:
    """The card as Markdown, without pictures."""
    blocks = [
        f"# Data card: {card.info.name}",
        _table(("", ""), _facts(card).items()),
        "## What stands out",
        "\n".join(f"- {remark}" for remark in card.remarks or ["Nothing."]),
        "## Held out",
        _held_out(card),
        "## Speakers",
        _table(SPEAKER_COLUMNS, map(_speaker_row, card.speakers[:SPEAKERS])),
        f"… and {len(card.speakers) - SPEAKERS} more, with less." if len(card.speakers) > SPEAKERS else "",
        "## Distributions",
        _table(("", *(f"{fraction:.0%}" for fraction in FRACTIONS)), _quantile_rows(card)),
        "## Symbols",
        f"{len(card.symbols)} different ones. The rarest, with their examples to learn from:",
        ", ".join(f"`{symbol}` {learnt:,}" for symbol, (learnt, _) in [*card.symbols.items()][: -RAREST - 1 : -1]),
        "## Style labels" if card.labels else "",
        _table(("class", "labels"), [(label, _counted(counts)) for label, counts in card.labels.items()]),
        "## Clips that can't be used" if card.rejects else "",
        _table(REJECT_COLUMNS, _reject_rows(card)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def page(card: DataCard) -> str:
    """The card as HTML."""
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in card.remarks or ["Nothing."])
    plots = [
        _plot("Length of the clips", card.seconds),
        _plot("Rate", card.rate),
        _plot("F0 of the voiced frames", card.f0, _F0_MARKS),
    ]
    most = max((learnt for learnt, _ in card.symbols.values()), default=1)
    parts = [
        f"<header><h1>{escape(card.info.name)} <small>data card</small></h1>{facts(_facts(card))}</header>",
        f'<section id="remarks"><h2>What stands out</h2><div class="verdict"><ul>{remarks}</ul></div></section>',
        f'<section id="held-out"><h2>Held out</h2><div class="verdict">{escape(_held_out(card))}</div></section>',
        f'<section id="distributions"><h2>Distributions</h2><div class="plots">{"".join(plots)}</div></section>',
        f'<section id="speakers"><h2>Speakers</h2>{_speakers(card.speakers)}</section>',
        f'<section id="symbols"><h2>Symbols <small>{len(card.symbols)}, with how often each is learnt</small></h2>'
        f'<div class="symbols">{"".join(_symbol(s, learnt, most) for s, (learnt, _) in card.symbols.items())}</div>'
        "</section>",
    ]
    if card.labels:
        rows = [(label, _counted(counts)) for label, counts in card.labels.items()]
        parts.append(f'<section id="labels"><h2>Style labels</h2>{_html_table(("class", "labels"), rows)}</section>')
    if card.rejects:
        table = _html_table(REJECT_COLUMNS, _reject_rows(card))
        parts.append(f'<section id="rejects"><h2>Clips that can\'t be used</h2>{table}</section>')
    return document(f"Data card: {card.info.name}", parts)


SPEAKER_COLUMNS = ("speaker", "minutes", "learnt", "held out", "F0 in Hz (5 %, median, 95 %)", "sounds a second")
REJECT_COLUMNS = ("reason", "clips", "what to do", "for instance")


def _facts(card: DataCard) -> dict[str, str]:
    info, clips = card.info, card.clips
    rejected = sum(reject.count for reject in card.rejects)
    counts = [f"{clips['train']:,} to learn from", f"{clips['valid']:,} held out"]
    counts += [f"{clips[UNUSED]:,} unused"] if clips[UNUSED] else []
    counts += [f"{rejected:,} that can't be used"] if rejected else []
    hours = f"{card.hours['train']:.2f} h to learn from, {card.hours['valid']:.2f} h held out"
    return {
        "layout": card.layout,
        "licence": card.licence or "not given",
        "source": card.source or "not given",
        "clips": ", ".join(counts),
        "audio": f"{hours}, at {info.geometry.sample_rate:,} Hz",
        "speakers": f"{sum(speaker.clips['train'] > 0 for speaker in card.speakers):,}",
        "text": f"{info.frontend} ({info.frontend_version}), {len(card.symbols)} symbols",
        "voiced": f"{card.voiced:.0%} of the frames",
        "fingerprint": info.fingerprint,
    }


def _held_out(card: DataCard) -> str:
    learnt, held_out = card.texts["train"], card.texts["valid"]
    said = f"{held_out:,} texts are held out, {learnt:,} are learnt; " + (
        f"{card.shared_texts:,} are both, as the corpus's own split has it. " if card.shared_texts else "none is both. "
    )
    apart = [speaker.name for speaker in card.speakers if not speaker.clips["train"]]
    said += f"{card.shared_speakers:,} speakers are both learnt and held out"
    said += f"; held out whole: {len(apart):,}." if apart else "; none is held out whole."
    if card.clips[UNUSED]:
        said += f" {card.clips[UNUSED]:,} of their clips are unused, for others are learnt with the same texts."
    return said


def _speaker_row(speaker: SpeakerFigures) -> tuple[str, ...]:
    f0 = " – ".join(f"{value:.0f}" for value in speaker.f0) or "–"
    clips = speaker.clips
    return (
        speaker.name,
        f"{speaker.minutes:.1f}",
        f"{clips['train']:,}",
        f"{clips['valid']:,}",
        f0,
        f"{speaker.rate:.1f}",
    )


def _quantile_rows(card: DataCard) -> list[tuple[str, ...]]:
    named = {"length": card.seconds, "rate": card.rate, "F0": card.f0}
    return [
        (f"{name}, {spread.unit}", *(f"{value:.3g}" for value in spread.quantiles))
        for name, spread in named.items()
        if spread.quantiles
    ]


def _reject_rows(card: DataCard) -> list[tuple[str, ...]]:
    return [
        (reject.reason, f"{reject.count:,}", ADVICE.get(reject.reason, "see its detail"), "; ".join(reject.examples))
        for reject in card.rejects
    ]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{label} {count:,}" for label, count in counts.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells)]
    return "\n".join(lines) if cells else ""


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table class="left"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def _plot(title: str, spread: Distribution, marks: Sequence[float] | None = None) -> str:
    if not spread.quantiles:
        return ""
    marks = ticks(spread.edges[0], spread.edges[-1], 6) if marks is None else marks
    low, _, middle, _, high = spread.quantiles
    return (
        f"<figure><figcaption>{title}, {spread.unit}</figcaption>{histogram(title, spread.edges, spread.counts, marks)}"
        f"<p>median {middle:.3g}; 5 % below {low:.3g}, 5 % above {high:.3g}</p></figure>"
    )


def _speakers(speakers: Sequence[SpeakerFigures]) -> str:
    """The table, with bars for minutes and F0."""
    longest = max((speaker.minutes for speaker in speakers), default=0) or 1
    known = [value for speaker in speakers for value in speaker.f0]
    low, high = (np.log(min(known)), np.log(max(known))) if known else (0.0, 1.0)

    def place(hertz: float) -> float:
        return float(100 * (np.log(hertz) - low) / max(high - low, 1e-9))

    rows = []
    for speaker in speakers:
        name, minutes, learnt, held_out, f0, rate = map(escape, _speaker_row(speaker))
        band = ""
        if speaker.f0:
            left, middle, right = map(place, speaker.f0)
            band = f'<i style="left:{left:.1f}%;right:{100 - right:.1f}%"></i><b style="left:{middle:.1f}%"></b>'
        bar = f'<i style="left:0;width:{100 * speaker.minutes / longest:.1f}%"></i>'
        rows.append(
            f'<tr><td>{name}</td><td>{minutes}</td><td><span class="track">{bar}</span></td><td>{learnt}</td>'
            f'<td>{held_out}</td><td><span class="track">{band}</span></td><td>{f0}</td><td>{rate}</td></tr>'
        )
    names = ("speaker", "minutes", "", "learnt", "held out", "F0", "Hz: 5 %, median, 95 %", "sounds a second")
    head = "".join(f"<th>{name}</th>" for name in names)
    table = f'<table class="left"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="wide tall">{table}</div>'


def _symbol(symbol: str, count: int, most: int) -> str:
    # on a scale of logarithms: the rare ones matter
    share = 100 * np.log1p(count) / max(np.log1p(most), 1e-9)
    bar = f'<span class="track"><i style="left:0;width:{share:.1f}%"></i></span>'
    return f"<div><span>{escape(symbol)}</span>{bar}<span>{count:,}</span></div>"
