"""Released files of MetaVoice to a checkpoint of ours; nothing is written before all of it is known to fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor, nn

from unison.builders import build_part
from unison.config.convert import ConvertConfig
from unison.config.train import TrainConfig
from unison.config.validate import validate
from unison.contract import Contract, versions, weights_digest, write_checkpoint
from unison.contract.checkpoint import VOICE_PREFIX
from unison.contract.exported import place_problems
from unison.convert import metavoice
from unison.convert.describe import composed
from unison.convert.sources import file_digest, read_pickle
from unison.errors import UnisonError
from unison.models.codec import EncodecConfig
from unison.models.metavoice.first_stage import FirstStage
from unison.models.metavoice.second_stage import SecondStage
from unison.models.metavoice.voice import MetaVoice
from unison.models.speaker_encoder.encoder import SpeakerEncoder
from unison.parts import Part, codec_part, part_of
from unison.text.bpe import BytePairs

_STAGE: dict[str, type] = {"model": dict, "model_args": dict, "meta": dict}
_ENTRIES: dict[str, dict[str, type]] = {
    "first_stage": _STAGE,
    "second_stage": _STAGE,
    "speaker_encoder": {"model_state": dict},
}
"""What each file holds, by the override that names it."""
_CODEBOOKS = 8
"""Of the released model's codec."""
_HEARD = 16000
"""Sample rate of the recordings that the released encoder of voices learnt from, and its own."""
_CORPUS = "metavoice"
_UNKNOWN = "the recordings of a released voice (not published)"


@dataclass
class _Models:
    """What the files hold; None where `problems` says why."""

    first: FirstStage | None = None
    second: SecondStage | None = None
    encoder: SpeakerEncoder | None = None


def read_metavoice(config: ConvertConfig) -> None:
    """Write the checkpoint of the files and the codec that `config` names.

    Raises:
        UnisonError: all that is missing, damaged or does not fit; the checkpoint can't be written.
    """
    problems = place_problems(config.out, ".ckpt")
    files = {name: Path(getattr(config, name)).expanduser() for name in _ENTRIES}
    contents = {name: read_pickle(name, path, _ENTRIES[name], problems) for name, path in files.items()}
    models, codec = _models(files, contents, problems), None
    codebooks = models.second.config.given + models.second.config.predicted if models.second else _CODEBOOKS
    try:
        codec = _codec(str(config.codec), codebooks)
    except UnisonError as error:
        problems += error.problems
    problems += _disagreements(config, models, codec)
    if problems or codec is None or models.first is None or models.second is None or models.encoder is None:
        raise UnisonError(problems)
    digests = {name: file_digest(path) for name, path in files.items()}
    parts = {
        "codec": codec.identity,
        "speaker_encoder": _identity(models.encoder, "speaker_encoder", digests, contents, _HEARD),
        "second_stage": _identity(models.second, "metavoice_second", digests, contents, codec.identity["sample_rate"]),
    }
    voice = MetaVoice(build_part(codec.identity, codec.weights), models.encoder, models.first, models.second, 0)
    weights: dict[str, Tensor] = voice.state_dict()
    steps = _steps(contents["first_stage"])
    path = Path(config.out).expanduser()
    checkpoint = path if path.suffix == ".ckpt" else path / "checkpoints" / f"step{steps:07d}.ckpt"
    contract = _contract(config, models.first, parts, checkpoint, steps).replace(
        parents=[
            {"role": f"released {name}", "file": path.name, "digest": digests[name]} for name, path in files.items()
        ],
        weights_digest=weights_digest(weights),
    )
    states = {VOICE_PREFIX + name: tensor for name, tensor in weights.items()}
    write_checkpoint({"state_dict": states, "contract": contract.to_dict()}, checkpoint)
    counts = {name: sum(p.numel() for p in stage.parameters()) for name, stage in voice.named_children()}
    sizes = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in counts.items())
    print(f"{checkpoint}  {checkpoint.stat().st_size / 1e6:.1f} MB: {sizes}; step {steps}")


def _models(files: Mapping[str, Path], contents: Mapping[str, dict[str, Any]], problems: list[str]) -> _Models:
    models = _Models()
    for name, attribute, read in (
        ("first_stage", "first", metavoice.first_stage),
        ("second_stage", "second", metavoice.second_stage),
        ("speaker_encoder", "encoder", metavoice.speaker_encoder),
    ):
        if contents[name]:
            try:
                setattr(models, attribute, read(contents[name]))
            except UnisonError as error:
                problems += [f"{name}={files[name]}: {problem}" for problem in error.problems]
    return models


def _codec(given: str, codebooks: int) -> Part:
    """A codec that was trained here, or a Hugging Face EnCodec.

    Raises:
        UnisonError: there is no such codec.
    """
    path = Path(given).expanduser()
    try:
        if path.exists() and not (path / "config.json").is_file():
            return part_of("codec", given, "codec")
        part = codec_part(EncodecConfig(given, codebooks))
    except UnisonError as error:
        # elsewhere the override is called otherwise
        said = [re.sub(r"^(codec: ckpt|codec\.path)=", "codec=", problem) for problem in error.problems]
        raise UnisonError(said) from error
    assert part is not None
    return part


def _disagreements(config: ConvertConfig, models: _Models, codec: Part | None) -> list[str]:
    """What of the files and the codec does not belong together."""
    first, second, encoder, problems = models.first, models.second, models.encoder, list[str]()
    one, other = f"first_stage={config.first_stage}", f"second_stage={config.second_stage}"
    if first and second:
        assert first.tokenizer
        assert second.tokenizer
        if first.tokenizer.texts != second.tokenizer.texts:
            problems.append(
                f"{other}: reads by other byte pairs (meta.tokenizer) than {one}, so a text would mean something else"
                " to it; give files of one release"
            )
        if first.config.codebooks != second.config.given:
            problems.append(
                f"{other}: is given {second.config.given} codebooks (model_args.vocab_sizes), {one} predicts"
                f" {first.config.codebooks}"
            )
        if first.layout.codebook_size != second.layout.codebook_size:
            problems.append(
                f"{other}: knows codebooks of {second.layout.codebook_size} codes, {one} of"
                f" {first.layout.codebook_size}"
            )
    for where, stage in ((one, first), (other, second)):
        if stage and encoder and stage.speaker.in_features != encoder.config.dim:
            problems.append(
                f"{where}: is told a voice by {stage.speaker.in_features} numbers,"
                f" speaker_encoder={config.speaker_encoder} makes {encoder.config.dim}"
            )
    if codec is None:
        return problems
    built, where = build_part(codec.identity, codec.weights), f"codec={config.codec}"
    rate = composed(["audio=24k"]).audio.sample_rate
    if built.sample_rate != rate:
        problems.append(f"{where}: its codes are of {built.sample_rate} Hz, a released MetaVoice's of {rate} Hz")
    if second and built.codebooks != second.config.given + second.config.predicted:
        asked = second.config.given + second.config.predicted
        problems.append(f"{where}: has {built.codebooks} codebooks, the two stages give {asked}")
    if first and built.codebook_size != first.layout.codebook_size:
        problems.append(
            f"{where}: its codebooks have {built.codebook_size} codes, the stages know {first.layout.codebook_size}"
        )
    return problems


def _identity(
    model: nn.Module,
    name: str,
    digests: Mapping[str, str],
    contents: Mapping[str, Mapping[str, Any]],
    sample_rate: int,
) -> dict[str, Any]:
    """What the contract says of a part; for a contract that it learnt under stands the file."""
    file = name.replace("metavoice_second", "second_stage")
    config: Any = model.config
    return {
        "digest": digests[file],
        "step": _steps(contents[file]),
        "weights": weights_digest(model.state_dict()),
        "model": {"name": name, **asdict(config)},
        "sample_rate": sample_rate,
    }


def _steps(content: Mapping[str, Any]) -> int:
    """What a file says that its weights have learnt; 0 where it does not."""
    steps = content.get("iter_num", content.get("step"))
    return steps if type(steps) is int and steps >= 0 else 0


def _contract(
    config: ConvertConfig, first: FirstStage, parts: dict[str, dict[str, Any]], checkpoint: Path, steps: int
) -> Contract:
    """What training the first stage here would have said, but for the parents and the weights."""
    assert first.tokenizer
    texts = first.tokenizer.texts
    assert isinstance(texts, BytePairs)
    encodec = parts["codec"]["model"]["name"] == "encodec"
    codec: dict[str, Any] = {"path": config.codec}
    if encodec:
        codec["codebooks"] = parts["codec"]["model"]["codebooks"]
    tree = composed(["data=csv", "audio=24k", "model=metavoice_first", f"codec={'encodec' if encodec else 'trained'}"])
    folder = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.with_suffix("")
    own = {
        "name": folder.name,
        "outputs": str(folder.parent),
        "data": {"name": _CORPUS, "raw": _UNKNOWN},
        "model": asdict(first.config),
        "codec": codec,
        "trainer": {"ema": {"enabled": False}, "stages": {"first_stage": {"steps": steps}}},
        "derived": {"prepared": str(folder.parent / "prepared" / _CORPUS), "n_speakers": 0, "n_symbols": 0},
    }
    merged = OmegaConf.merge(tree, own)
    validate(merged, TrainConfig)
    return Contract(
        config=OmegaConf.to_yaml(merged, resolve=True),
        family="metavoice",
        speakers=[],
        symbols=[],
        geometry=dict(tree.audio),
        tokenizer=texts.to_dict(),
        precision={"asked": "32-true", "ran": "32-true"},
        data={"name": _CORPUS, "fingerprint": _UNKNOWN, "sizes": {}, "seconds": {}},
        trained={"first_stage": steps},
        components=parts,
        versions=versions(),
        step=steps,
    )
