"""``unison evaluate``: the held-out sentences spoken, and how far they are from the recordings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from unison.audio import io
from unison.audio.mel import log_mel
from unison.config.resolvers import prepared_folder
from unison.config.tools import EvaluateConfig
from unison.config.validate import validate
from unison.data.manifest import Corpus, Utterance
from unison.errors import UnisonError
from unison.evaluation.mcd import mel_cepstral_distortion
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.request import Request, file_name
from unison.inference.synthesizer import Synthesizer, load
from unison.vocoders.config import GriffinLimConfig
from unison.vocoders.griffinlim import GriffinLim


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Speak the held-out utterances of the run's own corpus; prints and returns the mean figures.

    ``mcd`` is measured against the recordings; ``griffinlim_mcd``, of the recordings' own mels through Griffin-Lim, is
    what an acoustic model without a fault would reach with that vocoder.

    Raises:
        UnisonError: the checkpoint or its prepared corpus is not to be had.
    """
    config = validate(cfg, EvaluateConfig)
    if config.threads > 0:
        torch.set_num_threads(config.threads)
    if config.limit < 1:
        raise UnisonError(f"limit={config.limit}: expected at least 1")
    synthesizer = with_mels(load(config.ckpt, config.device, config.precision, config.vocoder, config.style_path))
    corpus, known = held_out_of(synthesizer)
    utterances = known[:: max(len(known) // config.limit, 1)][: config.limit]
    folder = Path(config.out) if config.out else beside(Path(config.ckpt).expanduser()) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    requests = [
        Request(u.text, u.speaker, synthesizer.prompt_of(u.style, u.key), symbols=tuple(u.symbols)) for u in utterances
    ]
    resynthesis = GriffinLim(GriffinLimConfig(), synthesizer.geometry)
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(utterances), unit="utterance", file=sys.stderr) as bar:
        for index, audio in synthesizer.each(requests):
            utterance = utterances[index]
            recording = corpus.features.waveform(utterance)
            io.write(folder / f"{file_name(utterance.key)}.wav", audio.samples, audio.sample_rate)
            copy = _resynthesize(recording, synthesizer, resynthesis)
            rows.append(
                {
                    "key": utterance.key,
                    "speaker": utterance.speaker,
                    "text": utterance.text,
                    "mcd": mel_cepstral_distortion(audio.samples, recording, synthesizer.geometry),
                    "griffinlim_mcd": mel_cepstral_distortion(copy, recording, synthesizer.geometry),
                    "seconds": audio.seconds,
                    "recorded_seconds": utterance.seconds,
                    "real_time_factor": audio.real_time_factor,
                }
            )
            bar.update()
    rows.sort(key=lambda row: row["key"])
    figures = ("mcd", "griffinlim_mcd", "real_time_factor")
    means = {name: float(np.mean([row[name] for row in rows])) for name in figures}
    means["seconds_ratio"] = sum(row["seconds"] for row in rows) / sum(row["recorded_seconds"] for row in rows)
    report = {"checkpoint": synthesizer.contract.digest, "utterances": len(rows), **means, "rows": rows}
    (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(
        f"{len(rows)} held-out utterances: mel-cepstral distortion {means['mcd']:.2f} dB;"
        f" Griffin-Lim of the recordings' own mels {means['griffinlim_mcd']:.2f} dB;"
        f" length {means['seconds_ratio']:.2f} of the recordings';"
        f" real-time factor {means['real_time_factor']:.3f}\n{folder}"
    )
    return means


def with_mels(synthesizer: Synthesizer) -> EmotiVoiceSynthesizer:
    """The synthesizer, of the family whose mels are measured.

    Raises:
        UnisonError: it is of another.
    """
    if not isinstance(synthesizer, EmotiVoiceSynthesizer):
        raise UnisonError(f"ckpt: a voice of the {synthesizer.family} family has no mels to measure; emotivoice has")
    return synthesizer


def held_out_of(synthesizer: Synthesizer) -> tuple[Corpus, list[Utterance]]:
    """The prepared corpus that the voice was trained on, and what it holds out of the voice's speakers.

    Raises:
        UnisonError: the corpus is not on this machine, or is another one by now; it holds nothing out.
    """
    tree = OmegaConf.create(synthesizer.contract.config)
    folder = Path(tree.derived.prepared)
    if not folder.is_dir():
        folder = Path(prepared_folder(tree.outputs, tree.data, tree.audio))
    corpus = Corpus(folder)
    if corpus.info.fingerprint != synthesizer.contract.data["fingerprint"]:
        raise UnisonError(
            f"{folder} is not what this voice was trained on: fingerprint {corpus.info.fingerprint[:12]},"
            f" the contract states {synthesizer.contract.data['fingerprint'][:12]}; prepare the corpus as it was then"
        )
    known = [utterance for utterance in corpus.split("valid") if utterance.speaker in synthesizer.contract.speakers]
    if not known:
        raise UnisonError(
            f"{folder} holds out no utterance of this voice's speakers: prepare it with a larger data.valid"
        )
    return corpus, known


def _resynthesize(recording: np.ndarray, synthesizer: EmotiVoiceSynthesizer, vocoder: GriffinLim) -> np.ndarray:
    mel = log_mel(torch.from_numpy(recording), synthesizer.geometry)
    return vocoder(mel[None]).squeeze().numpy()


def beside(ckpt: Path) -> Path:
    """The run folder of a checkpoint path."""
    if ckpt.is_file():
        return ckpt.parent.parent if ckpt.parent.name == "checkpoints" else ckpt.parent
    return ckpt
