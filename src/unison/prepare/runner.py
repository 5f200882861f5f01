"""Preparation: reads a corpus, measures its clips in parallel, and writes what training reads."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unison.audio.geometry import AudioGeometry
from unison.data.manifest import (
    FEATURES,
    CorpusInfo,
    Features,
    Statistics,
    Utterance,
    feature_width,
    read_manifest,
)
from unison.errors import UnisonError
from unison.files import replacing, write_text
from unison.prepare import corpora, mix
from unison.prepare.checks import Fault, alignment_fault, length_fault
from unison.prepare.clip import Clip, Reject
from unison.prepare.config import MIX, DataConfig
from unison.prepare.corpora import recordings, table
from unison.prepare.features import Measurement, Measurer, feature_settings
from unison.prepare.labels import with_computed
from unison.prepare.splits import UNUSED, held_out_speakers, splits, what_is_said
from unison.prepare.statistics import measure_statistics
from unison.prepare.store import FeatureStore, RowTable, lock
from unison.style.config import CLASSES
from unison.text import Frontend
from unison.text.symbols import symbol_list

VERSION = 2
"""Counts up when the same corpus would give another manifest."""

# settings that say where the corpus is, what is said of it and how it is worked on, not what comes out
_NOT_CONTENT = ("name", "raw", "licence", "source", "workers", "max_reject_share", "weight", "corpora", "speakers")
_CANT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_CLIPS_A_WORKER = 32
_IN_FLIGHT_A_WORKER = 8
_STYLE_BATCH = 64
_EXAMPLES = 5


class StyleEncoder(Protocol):
    """What turns style prompts, and perhaps texts, into vectors."""

    reads_texts: bool
    """Whether texts have vectors as well."""

    @property
    def digest(self) -> str:
        """Stands for the encoder, its weights and settings."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    def encode(self, texts: list[str]) -> Any:
        """Vectors float32 [len(texts), dim], an array or a tensor."""

    def prompt_for(self, key: str, text: str, style: Mapping[str, str]) -> str | None:
        """The prompt of a clip, by its key, its text and its style; None when it has none."""


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


def staleness(
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    folder: Path,
    style: StyleEncoder | None = None,
) -> str | None:
    """Why a prepared folder is not what `prepare` would make there now; None when it is. Opens no recording.

    Compares settings, versions, and the names, sizes and times of the raw files. Where the raw files are gone
    the prepared corpus stands for itself.
    """
    folder = Path(folder)
    if not (folder / "corpus.json").is_file() or not (folder / "manifest.jsonl").is_file():
        return "the corpus is not prepared yet"
    try:
        info = CorpusInfo.read(folder)
    except UnisonError:
        return "corpus.json can't be read"
    for name, place in mix.part_folders(data, geometry, folder).items():
        if reason := staleness(mix.alone(data.corpora[name]), geometry, reads, place):
            return f"{name}: {reason}"
    wanted = _source(data, geometry, reads, folder)
    if wanted["raw"] is None:
        wanted["raw"] = info.source.get("raw")
    changed = sorted(key for key in wanted if wanted[key] != info.source.get(key))
    if changed:
        return f"changed since it was prepared: {', '.join(changed)}"
    if style is not None and style.digest != info.style_identity:
        known = (info.style_identity or "none")[:12]
        return f"its style vectors are by another encoder ({known}, not {style.digest[:12]})"
    for name, dtype in FEATURES.items() if data.corpus != MIX else ():
        path = folder / name
        needed = info.sizes["frames"] * feature_width(name, geometry) * dtype.itemsize
        if not path.is_file() or path.stat().st_size < needed:
            return f"{name} is incomplete"
    return None


@dataclass
class _Outcome:
    """What came of the corpus's entries."""

    utterances: list[Utterance] = field(default_factory=list)
    rejects: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0

    def reject(self, key: str, fault: Fault, path: str = "") -> None:
        self.rejects.append({"key": key, "reason": fault.reason, "detail": fault.detail, "path": path})


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
        utterances, style_dim = _encode_styles(utterances, style, folder, progress)
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
    source = _source(data, geometry, reads, folder)
    entries = corpora.read(data)
    if source["raw"] is None:  # the reader has just made the corpus
        source = _source(data, geometry, reads, folder)
    clips = [entry for entry in entries if isinstance(entry, Clip)]
    apart = held_out_speakers({clip.speaker for clip in clips}, data.valid_speakers)
    with closing(FeatureStore(folder, geometry, feature_settings(data, geometry))) as store:
        outcome = _measure(entries, data, geometry, reads, store, progress)
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
    source = _source(data, geometry, reads, folder)
    return _Found(source, mix.gathered(data, folders), len(rejects), 0, folders)


def _measure(
    entries: Sequence[Clip | Reject],
    data: DataConfig,
    geometry: AudioGeometry,
    reads: Frontend,
    store: FeatureStore,
    progress: bool,
) -> _Outcome:
    """Measure every clip, in order; features go to the store as they come."""
    from tqdm import tqdm

    outcome = _Outcome()
    clips = []
    for entry in entries:
        if isinstance(entry, Clip):
            clips.append(entry)
        else:
            outcome.reject(entry.key, Fault(entry.reason, entry.detail))
    known = frozenset(
        digest
        for digest, entry in store.entries.items()
        if entry.frames or entry.fault or length_fault(entry.samples, data, geometry)
    )
    measurer = Measurer(data, geometry, reads, known)
    bar = tqdm(total=len(clips), desc=f"prepare {data.name}", unit=" clips", disable=not progress)
    with bar, closing(_results(measurer, clips, data.workers)) as results:
        for clip, result in results:
            _settle(clip, result, data, geometry, store, outcome)
            bar.set_postfix_str(f"{outcome.seconds / 3600:.2f} h, {len(outcome.rejects)} rejected", refresh=False)
            bar.update()
    outcome.rejects.sort(key=lambda reject: reject["key"])
    return outcome


def _settle(
    clip: Clip,
    result: Measurement,
    data: DataConfig,
    geometry: AudioGeometry,
    store: FeatureStore,
    outcome: _Outcome,
) -> None:
    """Store what is new about a clip, and accept or reject it."""
    digest, fault = result.digest, result.audio_fault
    if digest is not None:
        entry = store.entries.get(digest)
        # the same recording may have been on its way twice
        if entry is None or (result.features and not entry.frames):
            store.add(digest, result.samples, result.features, fault)
            entry = store.entries[digest]
        fault = (
            entry.fault
            or length_fault(entry.samples, data, geometry)
            or result.text_fault
            or alignment_fault(entry.frames, len(result.symbols))
        )
        if fault is None:
            seconds = entry.frames * geometry.hop_length / geometry.sample_rate
            outcome.seconds += seconds
            outcome.utterances.append(
                Utterance(
                    key=clip.key,
                    text=clip.text,
                    symbols=[sys.intern(symbol) for symbol in result.symbols],  # one object each, for all clips
                    speaker=clip.speaker,
                    split="",
                    offset=entry.offset,
                    frames=entry.frames,
                    seconds=round(seconds, 4),
                    audio=str(clip.audio),
                    digest=digest,
                    style=clip.style,
                )
            )
            return
    assert fault is not None, "a clip without a digest has a fault"
    outcome.reject(clip.key, fault, str(clip.audio))


_measurer: Measurer | None = None


def _start_worker(measurer: Measurer) -> None:
    global _measurer
    # Ctrl-C is the parent's to handle; a killed parent can't stop its workers, so they watch for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)
    _measurer = measurer


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(clip: Clip) -> Measurement:
    assert _measurer is not None, "the pool's initializer sets it"
    return _measurer(clip)


def _results(
    measurer: Measurer, clips: Sequence[Clip], workers: int
) -> Generator[tuple[Clip, Measurement], None, None]:
    """Measurements in the order of the clips; few of them are ever waiting."""
    # starting a process takes as long as measuring a few dozen clips
    workers = min(workers or os.cpu_count() or 1, -(-len(clips) // _CLIPS_A_WORKER))
    if workers <= 1:
        for clip in clips:
            yield clip, measurer(clip)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, (measurer,))
    waiting: deque[tuple[Clip, Future[Measurement]]] = deque()
    try:
        for clip in clips:
            waiting.append((clip, pool.submit(_work, clip)))
            if len(waiting) >= workers * _IN_FLIGHT_A_WORKER:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    except BrokenProcessPool as error:
        raise UnisonError(
            "a worker process died (out of memory, or a recording that crashes a library); what is done is "
            "kept; start again with data.workers=1 to see which clip it is"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _report_rejects(outcome: _Outcome, total: int, data: DataConfig, folder: Path) -> None:
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


def _encode_styles(
    utterances: Sequence[Utterance], style: StyleEncoder, folder: Path, progress: bool
) -> tuple[list[Utterance], int]:
    """Give every utterance the rows of its prompt's and its text's vectors; with the vectors' width."""
    from tqdm import tqdm

    prompts = [style.prompt_for(u.key, u.text, u.style) for u in utterances]
    contents = [u.text if style.reads_texts else None for u in utterances]
    pairs = zip(prompts, contents, strict=True)
    texts = list(dict.fromkeys(text for pair in pairs for text in pair if text is not None))
    if not texts:
        raise UnisonError(
            "style: no clip of this corpus has a prompt or labels, so there is nothing to learn a prompt by:"
            " data.labels=computed gives it labels"
        )
    dim = style.dim
    with closing(RowTable(folder, "style", style.digest, dim)) as table:
        missing = [text for text in texts if text not in table.places]
        for start in tqdm(range(0, len(missing), _STYLE_BATCH), desc="style vectors", disable=not progress):
            batch = missing[start : start + _STYLE_BATCH]
            vectors = np.asarray(style.encode(batch))
            table.add({text: vector[None] for text, vector in zip(batch, vectors, strict=True)})
        rows: dict[str | None, int | None] = {text: row for text, (row, _) in table.places.items()}
    rows[None] = None
    placed = [
        replace(u, prompt_row=rows[prompt], content_row=rows[content])
        for u, prompt, content in zip(utterances, prompts, contents, strict=True)
    ]
    return placed, dim


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


def _source(data: DataConfig, geometry: AudioGeometry, reads: Frontend, folder: Path) -> dict[str, Any]:
    """All that the prepared corpus in `folder` follows from, comparable through JSON."""
    common = {
        "version": VERSION,
        "features": feature_settings(data, geometry),
        "frontend": reads.identity,
    }
    if data.corpus == MIX:
        return common | {"raw": None} | mix.source(data, mix.part_folders(data, geometry, folder))
    settings = {name: value for name, value in asdict(data).items() if name not in _NOT_CONTENT}
    return common | {"raw": _listing(data), "data": settings}


def _listing(data: DataConfig) -> str | None:
    """Digest of the names, sizes and times of a corpus's raw files; None when there are none.

    They are all files under the raw folder. A table's recordings may lie anywhere, and other things beside
    them, so of a table they are the files that it names, and the texts.
    """
    raw = Path(data.raw)
    if data.corpus == corpora.NONE or not raw.exists():
        return None
    digest = hashlib.sha256()
    if data.corpus == "csv":
        entries = corpora.read(data)
        for reject in (entry for entry in entries if isinstance(entry, Reject)):
            digest.update(f"{reject.key}\0{reject.reason}\n".encode())
        audio = [entry.audio for entry in entries if isinstance(entry, Clip)]
        paths = [*table.texts(raw), *audio, *(path.with_suffix(recordings.TEXT) for path in audio)]
    else:
        paths = sorted(Path(folder, name) for folder, _, names in os.walk(raw, followlinks=True) for name in names)
    for path in paths:
        # a dangling link is no file
        if path.exists():
            stat = path.stat()
            digest.update(f"{os.path.relpath(path, raw)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
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
        more = " …" if len(apart) > _EXAMPLES else ""
        print(f"{len(apart)} speakers are held out whole: {', '.join(apart[:_EXAMPLES])}{more}")
    gone = [speaker for speaker in info.speakers if speaker not in known]
    if gone:
        print(
            f"speakers of an earlier preparation without a clip now: {', '.join(gone)}; they keep their ids "
            f"(delete {folder} to number afresh)"
        )
