"""Preparation: reads a corpus, measures its clips in parallel, and writes what training reads."""

from __future__ import annotations

import errno
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from unison.audio.geometry import AudioGeometry
from unison.data.manifest import CorpusInfo, Features, Statistics, Utterance, read_manifest
from unison.errors import UnisonError, some
from unison.files import replacing, write_text
from unison.prepare import corpora, mix
from unison.prepare.clip import Clip
from unison.prepare.config import MIX, DataConfig
from unison.prepare.features import feature_settings
from unison.prepare.labels import with_computed
from unison.prepare.measuring import Outcome, measure
from unison.prepare.sources import source_of, staleness
from unison.prepare.splits import UNUSED, held_out_speakers, splits, what_is_said
from unison.prepare.statistics import measure_statistics
from unison.prepare.store import FeatureStore, lock
from unison.prepare.styles import StyleEncoder, encode_styles
from unison.style.config import CLASSES
from unison.text import Frontend
from unison.text.symbols import symbol_list

_CANT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_EXAMPLES = 5


def prepare(
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    folder: Path,
    style: StyleEncoder | None = None,
    progress: bool = True,
    accept: Callable[[CorpusInfo], None] | None = None,
) -> Path:
    """Make the prepared corpus that `data` describes in `folder`, or bring it up to date.

    Features are kept by the content of the recordings: interrupted, it continues where it was, and a corpus
    that grew or whose texts changed has only its new recordings measured. Speakers, symbols and style labels
    that an earlier preparation numbered keep their ids; new ones are appended. The corpora of a mix are prepared
    in folders of their own beside `folder`, see :mod:`unison.prepare.mix`.

    Args:
        data: which corpus, and which of its clips are used.
        geometry: how features are computed.
        reads: text frontend for clips that bring no pronunciation.
        folder: where the prepared corpus goes.
        style: encoder of style prompts; without one no style vectors are written.
        progress: show bars.
        accept: is shown what the corpus has become before it takes the earlier one's place; what it raises leaves that
            one, with its ids, as it was.

    Returns:
        The folder, holding manifest.jsonl, rejects.jsonl, corpus.json and the feature files.

    Raises:
        UnisonError: the corpus is not there or not in its layout; too many of its clips are unusable.
        KeyboardInterrupt: after saying how to continue.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnisonError(f"{folder}: can't be made ({error.strerror}): set outputs=<a folder to write in>") from error
    try:
        with lock(folder) as waited:
            if waited and staleness(data, geometry, reads, folder, style) is None:
                return folder  # the other process has done it
            return _prepare(data, geometry, reads, folder, style, progress, accept)
    except OSError as error:
        if error.errno not in _CANT_WRITE:
            raise
        raise UnisonError(
            f"{folder}: can't be written ({error}); make room or choose another folder, then start again: "
            "what is done is kept"
        ) from error
    except KeyboardInterrupt:
        print(f"\n{folder}: interrupted; run the same command again to continue where it stopped")
        raise


def _prepare(
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    folder: Path,
    style: StyleEncoder | None,
    progress: bool,
    accept: Callable[[CorpusInfo], None] | None,
) -> Path:
    previous = _previous(folder, data, reads)
    find = _mixed if data.corpus == MIX else _measured
    found = find(data, geometry, reads, folder, progress, previous)
    source, utterances = found.source, found.utterances
    style_dim = 0
    if style is not None:
        utterances, style_dim = encode_styles(utterances, style, folder, progress)
    # who is held out has no place in a table of voices
    learnt = (u.speaker for u in utterances if u.split == "train")
    speakers = _ordered(learnt, previous.speakers if previous else [])
    pronunciations = [u.symbols for u in utterances]
    symbols = symbol_list(pronunciations, previous.symbols) if previous else symbol_list(pronunciations)
    info = CorpusInfo(
        name=data.name,
        speakers=speakers,
        symbols=symbols,
        labels={name: _labels(name, utterances, previous) for name in CLASSES},
        statistics=_statistics(Features(found.folders, geometry, utterances), utterances),
        geometry=geometry,
        frontend=reads.name,
        frontend_version=source["frontend"]["version"],
        fingerprint=_fingerprint(utterances, speakers, symbols, geometry),
        sizes={
            **{split: sum(u.split == split for u in utterances) for split in ("train", "valid", UNUSED)},
            "rejected": found.rejected,
            "frames": found.frames,
        },
        seconds={
            split: round(sum(u.seconds for u in utterances if u.split == split), 3) for split in ("train", "valid")
        },
        style_dim=style_dim,
        style_identity=style.digest if style is not None else None,
        source=source,
    )
    if accept is not None:
        accept(info)
    # the description is what makes the folder a prepared corpus, so it goes last
    with replacing(folder / "manifest.jsonl") as file:
        file.writelines(json.dumps(asdict(u), ensure_ascii=False).encode() + b"\n" for u in utterances)
    write_text(folder / "corpus.json", info.to_json())
    if utterances:
        _report(info, utterances, folder)
    return folder


@dataclass(frozen=True)
class _Found:
    """A corpus before its speakers, symbols and labels are numbered."""

    source: dict[str, Any]
    utterances: list[Utterance]
    rejected: int
    frames: int
    """In the feature files."""
    folders: Mapping[str, Path]
    """Where the feature files are, by what :attr:`Utterance.corpus` is."""


def _measured(
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    folder: Path,
    progress: bool,
    previous: CorpusInfo | None,
) -> _Found:
    """A corpus as its recordings are, its features in `folder`."""
    source = source_of(data, geometry, reads, folder)
    entries = corpora.read(data)
    if source["raw"] is None:  # the reader has just made the corpus
        source = source_of(data, geometry, reads, folder)
    clips = [entry for entry in entries if isinstance(entry, Clip)]
    apart = held_out_speakers({clip.speaker for clip in clips}, data.valid_speakers)
    with closing(FeatureStore(folder, geometry, feature_settings(data, geometry))) as store:
        outcome = measure(entries, data, geometry, reads, store, progress)
        frames = store.frames
    _report_rejects(outcome, len(entries), data, folder)
    given = {clip.key: clip.split for clip in clips}
    sides = splits(outcome.utterances, given, data.valid, apart, _earlier_sides(folder, previous, source))
    utterances = [replace(u, split=side) for u, side in zip(outcome.utterances, sides, strict=True)]
    if data.labels == "computed":
        utterances = with_computed(utterances, Features({"": folder}, geometry, utterances))
    return _Found(source, utterances, len(outcome.rejects), frames, {"": folder})


def _mixed(
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    folder: Path,
    progress: bool,
    previous: CorpusInfo | None,
) -> _Found:
    """The corpora of a mix, each prepared where it is not yet."""
    folders = mix.part_folders(data, geometry, folder)
    parts = {name: mix.alone(part) for name, part in data.corpora.items()}
    stale = [name for name in parts if staleness(parts[name], geometry, reads, folders[name]) is not None]
    problems = []
    for name in stale:  # all of them before hours go into the first
        try:
            corpora.read(parts[name])
        except UnisonError as error:
            problems += [f"data.corpora.{name}: {problem}" for problem in error.problems]
    if problems:
        raise UnisonError(problems)
    for name in stale:
        prepare(parts[name], geometry, reads, folders[name], progress=progress)
    rejects = mix.rejects(folders)
    _write_rejects(rejects, folder)
    source = source_of(data, geometry, reads, folder)
    return _Found(source, mix.gathered(data, folders), len(rejects), 0, folders)


def _report_rejects(outcome: Outcome, total: int, data: DataConfig, folder: Path) -> None:
    """Write and count the rejects; raise when there are too many."""
    rejects = outcome.rejects
    _write_rejects(rejects, folder)
    counts = Counter(reject["reason"] for reject in rejects)
    counted = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    if rejects:
        print(f"{len(rejects)} of {total} clips can't be used: {counted}; see {folder / 'rejects.jsonl'}")
    if data.corpus == corpora.NONE or (outcome.utterances and len(rejects) <= data.max_reject_share * total):
        return
    if not total:
        raise UnisonError(f"{data.raw}: holds no clip")
    examples = "; ".join(f"{r['key']}: {r['reason']} ({r['detail']})" for r in rejects[:_EXAMPLES])
    found = f"{data.raw}: {len(rejects)} of {total} clips can't be used ({counted})"
    if outcome.utterances:
        found += f", more than data.max_reject_share={data.max_reject_share:g} allows"
    raise UnisonError(
        f"{found}; for instance {examples}; all are listed in {folder / 'rejects.jsonl'}; "
        "mend them, widen the limit that rejects them, or raise data.max_reject_share (what is done is kept)"
    )


def _write_rejects(rejects: Sequence[dict[str, str]], folder: Path) -> None:
    lines = "".join(json.dumps(reject, ensure_ascii=False) + "\n" for reject in rejects)
    write_text(folder / "rejects.jsonl", lines)


def _previous(folder: Path, data: DataConfig, reads: Frontend) -> CorpusInfo | None:
    """The earlier preparation whose numbering goes on: of the same layout, in the same symbols, of the same voices."""
    try:
        info = CorpusInfo.read(folder)
    except UnisonError:
        return None
    then = info.source["data"]
    same = (then["corpus"], then.get("valid_speakers", 0.0)) == (data.corpus, data.valid_speakers)
    return info if same and info.frontend == reads.name else None


def _earlier_sides(folder: Path, previous: CorpusInfo | None, source: dict[str, Any]) -> dict[str, str]:
    """The split of each text of an earlier preparation that was asked to hold out as many."""
    if previous is None or previous.source["version"] != source["version"]:
        return {}
    if previous.source["data"]["valid"] != source["data"]["valid"]:
        return {}
    return {what_is_said(u.text, u.symbols): u.split for u in read_manifest(folder) if u.split != UNUSED}


def _ordered(names: Iterable[str], previous: Sequence[str]) -> list[str]:
    """Names with an earlier position keep it; the others follow, sorted."""
    return [*previous, *sorted(set(names) - set(previous))]


def _labels(name: str, utterances: Sequence[Utterance], previous: CorpusInfo | None) -> list[str]:
    """A class's labels; without a clip that has one nothing of it can be learnt, whatever there was before."""
    found = {u.style[name] for u in utterances if name in u.style}
    return _ordered(found, previous.labels[name] if previous and found else [])


def _statistics(features: Features, utterances: Sequence[Utterance]) -> Statistics:
    """Statistics of the training split."""
    train = features.each(u for u in utterances if u.split == "train")
    return measure_statistics((features.mel(u), features.f0(u), features.energy(u)) for u in train)


def _fingerprint(
    utterances: Sequence[Utterance], speakers: Sequence[str], symbols: Sequence[str], geometry: AudioGeometry
) -> str:
    digest = hashlib.sha256()
    content = sorted([u.digest, u.text, u.symbols, u.speaker, u.split, sorted(u.style.items())] for u in utterances)
    for part in (*content, list(speakers), list(symbols), asdict(geometry)):
        digest.update(json.dumps(part, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _report(info: CorpusInfo, utterances: Sequence[Utterance], folder: Path) -> None:
    hours = sum(info.seconds.values()) / 3600
    count = info.sizes[UNUSED]
    unused = f", {count} unused: held-out speakers' with texts that others are learnt with" if count else ""
    print(
        f"{folder}: {len(utterances)} clips ({info.sizes['valid']} held out{unused}), {hours:.2f} h, "
        f"{len(info.speakers)} speakers, {len(info.symbols)} symbols"
    )
    known = {u.speaker for u in utterances}
    if apart := sorted(known - {*info.speakers}):
        print(f"{len(apart)} speakers are held out whole: {some(apart, _EXAMPLES)}")
    gone = [speaker for speaker in info.speakers if speaker not in known]
    if gone:
        print(
            f"speakers of an earlier preparation without a clip now: {', '.join(gone)}; they keep their ids "
            f"(delete {folder} to number afresh)"
        )
