"""The commands. Each is a Hydra app with its own root config: overrides, ``--cfg job --resolve`` and ``-m`` work.

``python train.py …`` and ``python infer.py …`` are ``unison train …`` and ``unison infer …``.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, get_origin, get_type_hints

from unison.config.overrides import PREPARE_TEXTS, TRAIN_TEXTS
from unison.config.tree import conf_dir
from unison.errors import UnisonError


@dataclass(frozen=True)
class Command:
    """A command: where its function and its typed config are, and what is special about its overrides."""

    summary: str
    function: str
    schema: str
    example: str
    free_text: tuple[str, ...] = ()
    """Keys whose values arrive as typed, quoted before Hydra's grammar sees them."""
    groups: bool = False
    """Whether groups such as ``model=`` can be chosen. Where a checkpoint carries them they are not even in sight, and
    ``text=`` is the text that is spoken."""
    short: Mapping[str, str] = field(default_factory=dict)
    """Keys that stand for a longer one, where the command has no group of that name to choose from."""
    refused: int = 2
    """The exit code where what the user gave does not work."""


COMMANDS = {
    "train": Command(
        "train a voice",
        "unison.training.run:train",
        "unison.config.train:TrainConfig",
        "python train.py data=databaker precision=16-mixed",
        TRAIN_TEXTS,
        groups=True,
    ),
    "infer": Command(
        "speak with a trained voice",
        "unison.inference.run:infer",
        "unison.config.infer:InferConfig",
        'python infer.py ckpt=outputs/demo text="Hello, world" speaker=alice',
        ("ckpt", "text", "text_file", "speaker", "prompt", "reference", "adapters", "out", "style_path", "lexicon"),
        short={"compile": "compile.mode"},
    ),
    "prepare": Command(
        "make manifest, features and statistics of a corpus",
        "unison.prepare.run:run",
        "unison.config.prepare:PrepareConfig",
        "unison prepare data=databaker data.raw=corpora/BZNSYP",
        PREPARE_TEXTS,
        groups=True,
    ),
    "data-card": Command(
        "say what a corpus holds: hours, speakers, F0, symbols, what can't be used",
        "unison.evaluation.card_page:data_card",
        "unison.config.tools:DataCardConfig",
        "unison data-card data=csv data.raw=corpus",
        (*PREPARE_TEXTS, "out"),
        groups=True,
    ),
    "inspect": Command(
        "show what a checkpoint says about itself",
        "unison.contract.inspect:run",
        "unison.config.tools:InspectConfig",
        "unison inspect ckpt=outputs/demo",
        ("ckpt",),
    ),
    "diff": Command(
        "say whether what was learnt under one contract means the same under another",
        "unison.training.diff:run",
        "unison.config.tools:DiffConfig",
        "unison diff a=outputs/demo b=outputs/maria",
        ("a", "b"),
        refused=3,  # 2 says that the two are incompatible
    ),
    "extend": Command(
        "give a voice new speakers, symbols or labels without training",
        "unison.inference.extend:extend",
        "unison.config.tools:ExtendConfig",
        "unison extend ckpt=outputs/demo speakers=[maria] donor=amy out=grown.ckpt",
        ("ckpt", "donor", "out"),
    ),
    "prune": Command(
        "take speakers out of a voice",
        "unison.inference.extend:prune",
        "unison.config.tools:PruneConfig",
        "unison prune ckpt=outputs/demo speakers=[ben] out=smaller.ckpt",
        ("ckpt", "out"),
    ),
    "export": Command(
        "write a folder with weights and contract alone, for speaking",
        "unison.inference.export:run",
        "unison.config.tools:ExportConfig",
        "unison export ckpt=outputs/demo out=exported/demo",
        ("ckpt", "out"),
    ),
    "convert": Command(
        "read a released checkpoint of another system, or write one",
        "unison.convert.run:run",
        "unison.config.convert:ConvertConfig",
        "unison convert from=emotivoice generator=g_00140000 tokens=tokenlist speakers=speaker2 model=config.yaml"
        " out=emotivoice.ckpt",
        (
            "generator",
            "discriminator",
            "tokens",
            "speakers",
            "model",
            "style",
            "style_bert",
            "first_stage",
            "second_stage",
            "speaker_encoder",
            "codec",
            "ckpt",
            "out",
        ),
    ),
    "evaluate": Command(
        "speak the held-out sentences and measure the distance to the recordings",
        "unison.evaluation.run:evaluate",
        "unison.config.tools:EvaluateConfig",
        "unison evaluate ckpt=outputs/demo",
        ("ckpt", "out", "style_path"),
    ),
    "prompts": Command(
        "speak held-out sentences under prompts and measure what these move",
        "unison.evaluation.prompts:prompts",
        "unison.config.tools:PromptsConfig",
        "unison prompts ckpt=outputs/style-demo",
        ("ckpt", "prompts", "out", "style_path"),
    ),
    "compare": Command(
        "speak the same texts under several precisions and measure how far each is from float32",
        "unison.evaluation.compare:compare",
        "unison.config.compare:CompareConfig",
        "unison compare ckpt=outputs/demo precisions=[16-mixed,bf16-mixed] text_file=lines.txt",
        ("ckpt", "text", "text_file", "speaker", "prompt", "out", "style_path"),
    ),
    "resynthesize": Command(
        "send recordings through a codec and back, and measure what is lost",
        "unison.inference.resynthesize:run",
        "unison.config.tools:ResynthesizeConfig",
        "unison resynthesize ckpt=outputs/codec recordings=[a.wav,folder] out=heard",
        ("ckpt", "recordings", "out"),
    ),
    "text": Command(
        "show how a text is read: in words, in symbols, and why",
        "unison.text.show:run",
        "unison.config.tools:TextToolConfig",
        'unison text text="It is 5 o\'clock in 重庆"',
        ("text", "lexicon"),
    ),
    "bench": Command(
        "measure speed and memory on this machine",
        "unison.bench.run:run",
        "unison.config.tools:BenchConfig",
        "unison bench what=[synthesis,training]",
        ("out",),
        short={"compile": "compile.mode"},
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """The console script: ``unison <command> [overrides]``."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return
    if argv[0] == "--version":
        from unison import __version__

        print(__version__)
        return
    if argv[0] not in COMMANDS:
        from unison.config.validate import nearest

        hint = nearest(argv[0], COMMANDS)
        _fail(UnisonError(f"unison {argv[0]}: no such command{hint}; one of {', '.join(COMMANDS)}"))
    run(argv[0], argv[1:])


def run(name: str, argv: Sequence[str] | None = None) -> None:
    """Run one command with Hydra overrides; problems with what the user gave are printed and exit with 2 (diff: 3)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for ours in ("unison", "hydra"):  # hydra's: which job of a grid runs
        logging.getLogger(ours).setLevel(logging.INFO)
    try:
        _run(name, COMMANDS[name], argv)
        sys.stdout.flush()
    except UnisonError as error:
        _fail(error, COMMANDS[name].refused)
    except KeyboardInterrupt:
        _interrupted()
    except BrokenPipeError:
        _pipe_closed()


def _run(name: str, command: Command, argv: list[str]) -> None:
    if any(arg in ("-h", "--help") for arg in argv):
        print(_help(name, command))
        return
    from unison.config import overrides
    from unison.config.tree import groups, groups_of, model_of, names_of

    overrides.flags(argv, lambda: names_of(name))
    if command.groups:
        resumed = overrides.value_of(argv, "resume")
        if (
            resumed is not None
            and overrides.value_of(argv, "model") is None
            and (model := model_of(resumed)) is not None
        ):
            # so that what may change of it, its stages' steps, say, is there to be set
            argv = [f"model={model}", *argv]
        argv = overrides.of_a_mix(argv, groups()["data"])
        # folders beside ours bring choices that are not in sight from here
        if not any(arg.startswith(("--config-dir", "-cd")) for arg in argv):
            overrides.unknown_choices(argv, groups_of(name))
    elif "ckpt" in command.free_text:
        own = (*command.free_text, "precision", "vocoder")
        carried = [group for group in groups() if group not in command.short]
        overrides.forbid(argv, carried, "the checkpoint carries it, so that inference can't drift from training", own)
    argv = overrides.in_full(argv, command.short)
    if not command.groups:
        argv = overrides.open_mappings(argv, _fields(command, dict))
        overrides.unknown_fields(argv, names_of(name))
    argv = overrides.as_lists(overrides.quote_free_text(argv, command.free_text), _fields(command, list))
    argv = overrides.quote_words(argv)
    _hydra(name, command, overrides.overrides_first(argv))


def _fields(command: Command, kind: type) -> set[str]:
    """Keys of a command that take a list, or a dict."""
    hints = get_type_hints(_schema(command))
    return {name for name, hint in hints.items() if get_origin(hint) is kind}


def _schema(command: Command) -> type:
    module, _, attribute = command.schema.partition(":")
    schema: type = getattr(importlib.import_module(module), attribute)
    return schema


def _hydra(name: str, command: Command, argv: list[str]) -> None:
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    from unison.config.resolvers import register
    from unison.config.tree import override_problem

    register()
    module, _, attribute = command.function.partition(":")
    of_the_task: list[BaseException] = []

    def task(cfg: DictConfig) -> Any:
        try:
            return getattr(importlib.import_module(module), attribute)(cfg)
        except (UnisonError, KeyboardInterrupt, BrokenPipeError) as error:
            return _task_failed(error, command.refused)
        except Exception as error:
            of_the_task.append(error)
            raise

    before, sys.argv = sys.argv, [name, *argv]
    # Hydra raises instead of printing: what is wrong with an override is said below, a fault of ours shows where it is
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        with _in_sight(name, command.groups) as conf:
            hydra.main(version_base="1.3", config_path=conf, config_name=name)(task)()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if error in of_the_task:
            raise
        raise UnisonError(override_problem(error, name, argv)) from error
    finally:
        sys.argv = before


@contextlib.contextmanager
def _in_sight(name: str, groups: bool) -> Iterator[str]:
    """The folder that Hydra composes from: the whole tree; for a command without groups nothing but its root file."""
    if groups:
        yield str(conf_dir())
        return
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    store.store(name, OmegaConf.load(conf_dir() / f"{name}.yaml"))
    store.store("none", OmegaConf.load(conf_dir() / "sweep" / "none.yaml"), group="sweep", package="hydra")
    try:
        yield str(conf_dir() / "sweep")
    finally:
        for entry in (f"{name}.yaml", "sweep"):
            store.repo.pop(entry)


def _task_failed(error: BaseException, code: int) -> dict[str, str]:
    """End the process, or in a sweep only the job: its row in the table says why."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if isinstance(error, KeyboardInterrupt):
        _interrupted()
    if isinstance(error, BrokenPipeError):
        _pipe_closed()
    assert isinstance(error, UnisonError)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        _print_problems(error)
        return {"status": "failed: " + "; ".join(error.problems)}
    _fail(error, code)


def _interrupted() -> NoReturn:
    print("\ninterrupted", file=sys.stderr)
    sys.exit(130)


def _pipe_closed() -> NoReturn:
    """Whoever read the output has gone: leave as a program does that is ended by SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed goes nowhere
    sys.exit(141)


def _print_problems(error: UnisonError) -> None:
    for problem in error.problems:
        print(f"error: {problem}", file=sys.stderr)


def _fail(error: UnisonError, code: int = 2) -> NoReturn:
    _print_problems(error)
    sys.exit(code)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    usage, hint = "usage: unison <command> [key=value …]", "unison <command> --help explains its knobs"
    return "\n".join([usage, "", *rows, "", hint])


def _help(name: str, command: Command) -> str:
    from unison.config.help import field_help, render_help
    from unison.config.tree import comments_of, groups_of, values_in, values_of

    rows = field_help(_schema(command), "", values_of(name), comments_of(name), values_in)
    return render_help(f"unison {name}", f"{command.summary}: {command.example}", groups_of(name), rows)


if __name__ == "__main__":
    main()
