"""Released files of EmotiVoice to a checkpoint of ours; nothing is written before all of it is known to fit."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unison.config.convert import ConvertConfig
from unison.contract import weights_digest, write_checkpoint
from unison.contract.checkpoint import VOICE_PREFIX
from unison.contract.exported import place_problems
from unison.convert import going_on
from unison.convert.describe import describe
from unison.convert.emotivoice import MODEL_PREFIX, build, generator_tensors
from unison.convert.sizes import Sizes, read_config, read_sizes
from unison.convert.sources import file_digest, read_names, read_pickle
from unison.convert.style import encoder_tensors, write_encoder
from unison.errors import UnisonError, some
from unison.text.symbols import BOUNDARY, PAD

log = logging.getLogger(__name__)

TABLES = {"tokens": "am.src_word_emb.weight", "speakers": "am.spk_tokenizer.weight"}
"""Whose rows a list names."""


@dataclass
class Released:
    """What was read of the files, all of it fitting together."""

    files: dict[str, Path]
    """By the override that named them."""
    names: dict[str, list[str]]
    """Symbols and speakers, by the override that named their list."""
    sizes: Sizes
    steps: int
    tensors: dict[str, Tensor]
    """Of the generator, under our names."""
    resumed: dict[str, Any]
    """What training goes on with; empty without a `do_*` file."""
    encoder: dict[str, Tensor]
    """Of prompts; empty without one."""


def read_emotivoice(config: ConvertConfig) -> None:
    """Write the checkpoint of the files that `config` names, and the folder of its encoder of prompts.

    Raises:
        UnisonError: all that is missing, damaged or does not fit; a file can't be written.
    """
    problems: list[str] = []
    released = _released(config, problems)
    checkpoint, style_folder = _places(config, released.steps if released else 0, problems)
    if problems or released is None:
        raise UnisonError(problems)
    sizes, resumed = released.sizes, released.resumed
    style: dict[str, Any] = {"name": "bert", "dim": sizes.style_dim}
    if released.encoder:
        style = write_encoder(style_folder, released.encoder, Path(str(config.style_bert)).expanduser())
    else:
        log.warning(
            "without style= and style_bert= the voice has no encoder of prompts: this checkpoint can be inspected and"
            " written back, but it can't speak, and no run can begin from it"
        )
    if resumed:
        rate = resumed["optimizer_states"][0]["param_groups"][0]["lr"]
        sizes = replace(sizes, learning_rate=float(rate))
    parents = [
        {"role": f"released {key}", "file": path.name, "digest": file_digest(path)}
        for key, path in released.files.items()
    ]
    speakers, symbols = released.names["speakers"], released.names["tokens"]
    contract = describe(sizes, speakers, symbols, style, released.steps, checkpoint, parents)
    weights = {MODEL_PREFIX + name: tensor for name, tensor in (released.tensors | _statistics(sizes)).items()}
    contract = contract.replace(weights_digest=weights_digest(weights))
    states = {VOICE_PREFIX + name: tensor for name, tensor in weights.items()} | resumed.get("state_dict", {})
    write_checkpoint({**resumed, "state_dict": states, "contract": contract.to_dict()}, checkpoint)
    counts = f"{len(speakers)} speakers, {len(symbols)} symbols, step {released.steps}"
    print(f"{checkpoint}  {checkpoint.stat().st_size / 1e6:.1f} MB: {counts}")
    if released.encoder:
        print(f"{style_folder}  its encoder of prompts")


def _released(config: ConvertConfig, problems: list[str]) -> Released | None:
    """All that the files hold; None, or incomplete, when `problems` says why."""
    files = {
        key: Path(value).expanduser()
        for key in ("generator", "discriminator", "tokens", "speakers", "model", "style")
        if (value := getattr(config, key)) is not None
    }
    names = {key: read_names(key, files[key], problems) for key in TABLES}
    generator = read_pickle("generator", files["generator"], {"generator": dict}, problems).get("generator")
    training: dict[str, Any] = {}
    if "discriminator" in files:
        training = read_pickle("discriminator", files["discriminator"], going_on.ENTRIES, problems)
    steps = _steps(config.steps, files["generator"], training, problems)
    for key, listed in names.items():
        problems += _row_problems(key, files[key], listed, generator or {})
    if names["tokens"] and names["tokens"][:2] != [PAD, BOUNDARY]:
        found = ", ".join(names["tokens"][:2])
        problems.append(f"tokens={files['tokens']}: expected {PAD} and {BOUNDARY} on its first lines, found {found}")
    sizes = _sizes(files["model"], problems)
    if sizes is None or generator is None:
        return None
    released = Released(files, names, sizes, steps, {}, {}, {})
    try:
        with torch.device("meta"):
            model = build(sizes, *(_rows(generator, TABLES[key], len(names[key])) for key in TABLES))
        released.tensors = generator_tensors(generator, model, sizes)
        if training:
            released.resumed = going_on.from_reference(training, model, sizes.vocoder)
    except UnisonError as error:
        what = "discriminator" if released.tensors else "generator"
        problems += [f"{what}={files[what]}: {problem}" for problem in error.problems]
    if "style" in files:
        entries = read_pickle("style", files["style"], {"model": dict}, problems).get("model")
        if entries is not None:
            bert = Path(str(config.style_bert)).expanduser()
            released.encoder = encoder_tensors(entries, bert, sizes.style_dim, problems)
    return released


def _statistics(sizes: Sizes) -> dict[str, Tensor]:
    """The mel statistics of a model that reads and predicts the log mel as it is."""
    bands = sizes.audio.n_mels
    return {"acoustic.mel_mean": torch.zeros(bands), "acoustic.mel_std": torch.ones(bands)}


def _sizes(path: Path, problems: list[str]) -> Sizes | None:
    config = read_config(path, problems)
    if config is None:
        return None
    try:
        return read_sizes(config)
    except UnisonError as error:
        problems += [f"model={path}: {problem}" for problem in error.problems]
        return None


def _rows(generator: Mapping[str, Any], table: str, missing: int) -> int:
    """Rows of a table; `missing` where it is missing, which is told elsewhere."""
    tensor = next((value for name, value in generator.items() if str(name).removeprefix("module.") == table), None)
    return int(tensor.shape[0]) if isinstance(tensor, Tensor) and tensor.dim() else missing


def _row_problems(key: str, path: Path, names: Sequence[str], generator: Mapping[str, Any]) -> list[str]:
    """Why a list is not the one of a generator's table."""
    table = TABLES[key].removesuffix(".weight")
    rows = _rows(generator, TABLES[key], len(names))
    if not names or not generator or len(names) == rows:
        return []
    where = f"{key}={path}: {len(names)} names for the {rows} rows of {table}"
    if rows > len(names):
        surplus = f"row {rows - 1} has" if rows == len(names) + 1 else f"rows {len(names)} to {rows - 1} have"
        own = "exp/<name>/info/" + ("speaker" if key == "speakers" else "tokenlist")
        return [
            f"{where}: {surplus} no name. A fine-tuned generator has rows of its own behind the released ones: give the"
            f" list of its experiment ({own}), or append the missing names, in the order of the rows, to a copy of this"
            " list"
        ]
    left = some(names[rows:], 5)
    return [
        f"{where}: from line {rows + 1} on ({left}) no name has a row. This list is a fine-tuned generator's: give that"
        " generator, or the list that this one was trained with"
    ]


def _steps(given: int | None, generator: Path, training: Mapping[str, Any], problems: list[str]) -> int:
    """What the weights have learnt, as far as anything says so."""
    stated: dict[str, int] = {} if given is None else {f"steps={given}": given}
    if match := re.fullmatch(r"g_(\d+)", generator.name):
        stated[f"generator={generator}"] = int(match[1])
    if type(training.get("steps")) is int:
        stated[f"the do_ file's entry steps, {training['steps']}"] = training["steps"]
    if len(set(stated.values())) > 1:
        problems.append(f"{' and '.join(stated)} are of different steps; give files of one step")
    steps = next(iter(stated.values()), 0)
    if steps < 1:
        problems.append(
            "steps=… is needed: how long the generator was trained says neither its name (as g_00140000 does) nor a"
            " do_ file"
        )
    return steps


def _places(config: ConvertConfig, steps: int, problems: list[str]) -> tuple[Path, Path]:
    """The checkpoint's file, and the folder of its encoder of prompts; `problems` says what is there already."""
    out, path = config.out, Path(config.out).expanduser()
    taken = place_problems(out, ".ckpt")
    problems += taken
    if path.suffix == ".ckpt":
        checkpoint, style_folder = path, path.with_name(f"{path.stem}-style")
    else:
        checkpoint, style_folder = path / "checkpoints" / f"step{steps:07d}.ckpt", path / "style"
    if not taken and config.style is not None and style_folder.exists():
        problems.append(f"out={out}: {style_folder} is there already; give another name, or move it away")
    return checkpoint, style_folder
