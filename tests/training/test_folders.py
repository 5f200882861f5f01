"""Run folders: never two runs in one, a resumed run is the same run, and weights come from the same kind of voice."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from omegaconf import DictConfig

from tests.conftest import SPEAKER_ENCODER, make_corpus
from tests.training.conftest import ACOUSTIC
from unison.config.resolvers import register
from unison.config.tree import compose_root
from unison.contract.checkpoint import read_contract, read_weights, resolve_ckpt
from unison.contract.exported import write_exported
from unison.errors import UnisonError
from unison.training.callbacks import CHECKPOINTS, METRICS, append_metrics, forget_metrics
from unison.training.folders import job_name, open_run, swept_keys, with_overrides
from unison.training.presets import overrides_of
from unison.training.run import train

Make = Callable[..., DictConfig]
Refused = Callable[[DictConfig], list[str]]


@pytest.fixture
def copy(short: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(short, tmp_path / "run"))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_a_second_start_is_refused(tiny: list[str], corpus: Path, start: Callable[..., Any], short: Path) -> None:
    before = contents(short)
    code, _, err = start(*tiny, *ACOUSTIC, f"data.raw={corpus}", f"outputs={short.parent}", "name=short").end()
    assert code == 2
    assert f"{short} already holds a run: resume={short}" in err
    assert contents(short) == before


def test_overwriting_starts_anew(config: Make, copy: Path) -> None:
    cfg = config(*ACOUSTIC, f"name={copy.name}", f"outputs={copy.parent}", "overwrite=true")
    cfg.derived.prepared = str(config().derived.prepared)
    (copy / METRICS).write_text("step,metric,value\n99,left,1\n")
    (copy / "evaluation").mkdir()
    train(cfg)
    assert not (copy / "evaluation").exists()
    assert read_contract(resolve_ckpt(copy).path).step == 2
    assert "left" not in (copy / METRICS).read_text()


def test_a_run_that_never_saved_starts_again(config: Make, copy: Path) -> None:
    shutil.rmtree(copy / CHECKPOINTS)
    (copy / METRICS).write_text("step,metric,value\n99,left,1\n")
    (copy / "evaluation").mkdir()
    cfg = config(*ACOUSTIC, f"name={copy.name}", f"outputs={copy.parent}")
    cfg.derived.prepared = str(config().derived.prepared)
    train(cfg)
    assert (copy / "evaluation").exists()
    assert "left" not in (copy / METRICS).read_text()


def test_two_processes_never_share_a_folder(config: Make, refused: Refused, copy: Path) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, copy / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        assert "is being trained in by another process" in refused(config(f"resume={copy}"))[0]
        cfg = config(*ACOUSTIC, f"name={copy.name}", f"outputs={copy.parent}", "overwrite=true")
        assert "is being trained in by another process" in refused(cfg)[0]
        other.stdin.close()
    assert any((copy / CHECKPOINTS).glob("*.ckpt")), "nothing was deleted"


def test_a_run_does_not_start_from_what_it_overwrites(config: Make, refused: Refused, copy: Path) -> None:
    sources = [f"init_from={copy}", f"vocoder_from={copy / CHECKPOINTS}"]
    cfg = config(f"name={copy.name}", f"outputs={copy.parent}", "overwrite=true", *sources)
    assert refused(cfg) == [f"{source} lies in this run's own folder: name=… starts another run" for source in sources]


def test_what_batches_are_too_few_for_overwrites_nothing(config: Make, refused: Refused, copy: Path) -> None:
    before = contents(copy)
    solo = make_corpus(copy.parent / "solo", {"anna": 120.0})
    own = [f"name={copy.name}", f"outputs={copy.parent}", f"data.raw={solo}", "overwrite=true"]
    assert "1 speaker to learn from" in refused(config(*own, of=SPEAKER_ENCODER))[0]
    assert contents(copy) == before


def test_a_run_folder_may_be_a_link(config: Make, copy: Path) -> None:
    outputs = copy.parent / "outputs"
    outputs.mkdir()
    (outputs / "link").symlink_to(copy)
    cfg = config(*ACOUSTIC, "name=link", f"outputs={outputs}", "overwrite=true")
    assert open_run(cfg).folder == outputs / "link"


@pytest.mark.parametrize("name", ["", ".", "../elsewhere", "a/../../b"])
def test_a_run_lies_in_the_outputs(config: Make, refused: Refused, name: str) -> None:
    cfg = config("overwrite=true")
    cfg.name = name
    assert refused(cfg) == [f"name={name}: expected the name of a folder in outputs={cfg.outputs}"]


def test_labels_of_a_corpus_without_any(config: Make, refused: Refused, corpus: Path, tmp_path: Path) -> None:
    rows = [line.split(",") for line in corpus.read_text().splitlines()]
    table = tmp_path / "plain.csv"
    table.write_text("path,text,speaker\n" + "".join(f"{corpus.parent / r[0]},{r[1]},{r[2]}\n" for r in rows[1:]))
    (problem,) = refused(config("name=unlabelled", "style=labels", f"data.raw={table}", f"outputs={tmp_path}"))
    assert problem.startswith("style=labels: no clip of this corpus has a label; data.labels=computed gives")


@pytest.mark.parametrize("wrong", ["data.raw=nowhere", "init_from={short} speakers.policy=only_new"])
def test_a_refused_run_overwrites_nothing(config: Make, refused: Refused, copy: Path, short: Path, wrong: str) -> None:
    before = contents(copy)
    own = [f"name={copy.name}", f"outputs={copy.parent}", "overwrite=true", *wrong.format(short=short).split()]
    cfg = config(*own)
    if not wrong.startswith("data.raw"):
        cfg.derived.prepared = str(config().derived.prepared)
    assert refused(cfg)
    assert contents(copy) == before


def test_resuming_with_other_settings_is_refused_by_name(config: Make, short: Path) -> None:
    own = read_contract(resolve_ckpt(short).path)
    given = ["model.hidden=32", "data=csv", "seed=1", "+experiment=fsdd", "trainer.ema.decay=0.5", f"resume={short}"]
    cfg = config("model.hidden=32", "seed=1", "data.valid=0.5", "trainer.ema.decay=0.5")
    with pytest.raises(UnisonError) as caught:
        with_overrides(own.tree(), cfg, given)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == given[:-1]


def test_resuming_takes_the_same_settings_and_what_may_change(config: Make, short: Path) -> None:
    own = read_contract(resolve_ckpt(short).path)
    cfg = config(
        "name=short", *ACOUSTIC, "trainer.stages.acoustic.steps=7", "loader.num_workers=1", "callbacks.previews.count=2"
    )
    given = [
        "data=csv",
        "name=short",
        "model.hidden=16",
        "trainer.stages.acoustic.steps=7",
        "loader.num_workers=1",
        "callbacks.previews.count=2",
    ]
    tree = with_overrides(own.tree(), cfg, [*given, f"resume={short}"])
    assert tree.trainer.stages.acoustic.steps == 7
    assert tree.loader.num_workers == 1
    assert tree.callbacks.previews.count == 2
    assert tree.callbacks.checkpoints.every_steps == 1, "what is not given stays as it was"


def test_a_command_resumes_with_more_steps(start: Callable[..., Any], copy: Path) -> None:
    code, _, err = start(f"resume={copy}", "model.hidden=32").end()
    assert code == 2
    assert "model.hidden=32: a resumed run keeps its own configuration" in err
    code, _, err = start(f"resume={copy}", "model.hidden=16", "trainer.stages.acoustic.steps=3").end()
    assert code == 0, err
    command = f"python infer.py ckpt={copy} speaker=anna text=six"
    assert err.splitlines()[-1] == f"the voice is in {copy}; to hear it: {command}"
    contract = read_contract(resolve_ckpt(copy).path)
    assert contract.step == 3
    assert contract.tree().trainer.stages.acoustic.steps == 3


def test_a_finished_run_says_how_to_go_on(config: Make, refused: Refused, copy: Path) -> None:
    told = refused(config(f"resume={copy}"))[0]
    assert told == f"{copy} is trained to its last step; trainer.stages.acoustic.steps=… above 2 makes it go on"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ran", "no such run folder; nearest: {folder}/run"),
        ("run/checkpoints", "expected a run folder: resume={folder}/run"),
        ("run/checkpoints/step0000001.ckpt", "its run goes on from its newest checkpoint, step0000002.ckpt: resume="),
        ("run/config.yaml", "expected a run folder, found a file"),
        ("alone.ckpt", "expected a run folder, found a file; init_from= starts from a checkpoint alone"),
        ("exported", "an exported folder has no training to go on with: init_from={folder}/exported"),
        (".", "expected a run folder with checkpoints/step….ckpt, found no checkpoint; the run folders in it are"),
        ("empty", "expected a run folder with checkpoints/step….ckpt, found no checkpoint; a run that stopped before"),
    ],
)
def test_resuming_what_is_no_run_says_what_to_give(
    config: Make, refused: Refused, copy: Path, given: str, words: str
) -> None:
    folder = copy.parent
    (folder / "empty").mkdir()
    shutil.copy(copy / "checkpoints" / "step0000002.ckpt", folder / "alone.ckpt")
    contract, weights = read_weights(resolve_ckpt(copy))
    write_exported(folder / "exported", contract, weights)
    path = folder / given if given != "." else folder
    (told,) = refused(config(f"resume={path}"))
    assert told.startswith(f"resume={path}: {words.format(folder=folder)}")


def test_the_newest_checkpoint_stands_for_its_run(start: Callable[..., Any], copy: Path) -> None:
    newest = copy / "checkpoints" / "step0000002.ckpt"
    code, _, err = start(f"resume={newest}", "trainer.stages.acoustic.steps=3").end()
    assert code == 0, err
    assert read_contract(resolve_ckpt(copy).path).step == 3


def test_a_damaged_checkpoint_is_passed_over(
    config: Make, copy: Path, short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newest = copy / "checkpoints" / "step0000002.ckpt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    train(config(f"resume={copy}"))
    assert any("step0000001.ckpt, the newest valid checkpoint" in message for message in caplog.messages)
    assert read_contract(newest).weights_digest == read_contract(short / "checkpoints" / newest.name).weights_digest
    assert (copy / "metrics.csv").read_text() == (short / "metrics.csv").read_text()


def test_keeping_one_never_keeps_the_damaged_one(config: Make, killed: Callable[[DictConfig, int], Path]) -> None:
    more = ["trainer.stages.acoustic.steps=4", "callbacks.checkpoints.keep=1"]
    folder = killed(config("name=keep-one", *ACOUSTIC, *more), 2)
    assert [path.name for path in sorted((folder / "checkpoints").glob("*.ckpt"))] == ["step0000002.ckpt"]
    (folder / "checkpoints" / "step0000009.ckpt").write_bytes(b"damaged")
    train(config(f"resume={folder}"))
    assert [path.name for path in sorted((folder / "checkpoints").glob("*.ckpt"))] == ["step0000004.ckpt"]


def test_a_changed_corpus_is_refused_by_name(config: Make, refused: Refused, corpus: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(corpus.parent, tmp_path / "corpus"))
    cfg = config(f"name=changing-{tmp_path.name}", f"data.raw={folder / corpus.name}", *ACOUSTIC)
    train(cfg)
    samples, rate = soundfile.read(folder / "anna_0.wav")
    soundfile.write(folder / "new.wav", samples, rate)
    with (folder / corpus.name).open("a") as file:
        file.write("new.wav,zero one,carl,calm,train\r\n")
    more = config(f"resume={Path(cfg.outputs) / cfg.name}")
    told = refused(more)
    assert all("the corpus csv has changed since: " in problem for problem in told)
    assert any("speakers: carl new since" in problem for problem in told)
    assert any("fingerprint: " in problem for problem in told)


def test_a_corpus_that_is_brought_back_goes_on(config: Make, refused: Refused, corpus: Path, tmp_path: Path) -> None:
    table = Path(shutil.copytree(corpus.parent, tmp_path / "corpus")) / corpus.name
    cfg = config(f"name=back-{tmp_path.name}", f"data.raw={table}", *ACOUSTIC)
    train(cfg)
    prepared, folder = Path(cfg.derived.prepared), Path(cfg.outputs) / cfg.name
    described = [(prepared / name).read_bytes() for name in ("corpus.json", "manifest.jsonl")]
    before = table.read_text()
    table.write_text(before.replace(",bert,", ",carl,").replace("eight", "joy"))
    assert any("speakers: carl new since" in problem for problem in refused(config(f"resume={folder}")))
    assert [(prepared / name).read_bytes() for name in ("corpus.json", "manifest.jsonl")] == described
    table.write_text(before)
    (folder / CHECKPOINTS / "step0000002.ckpt").unlink()
    train(config(f"resume={folder}"))
    assert read_contract(resolve_ckpt(folder).path).step == 2


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    forget_metrics(path, 3)
    assert not path.exists()
    for step in (2, 4, 6):
        append_metrics(path, step, {"valid/mel": 1 / step, "valid/a": step})
    kept = path.read_bytes().splitlines(keepends=True)[:5]
    with path.open("a") as file:
        file.write("1,valid/cut")
    forget_metrics(path, 4)
    assert path.read_bytes() == b"".join(kept)


def test_init_from_equal(config: Make, short: Path) -> None:
    parent = read_contract(resolve_ckpt(short).path)
    cfg = config("name=child", f"init_from={short}", *ACOUSTIC, "trainer.stages.acoustic.learning_rate=0.0")
    train(cfg)
    folder = Path(cfg.outputs) / "child"
    child = read_contract(folder / "checkpoints" / "step0000001.ckpt")
    assert child.step == 1
    assert child.weights_digest == parent.weights_digest, "nothing was learnt, so the weights are the parent's"
    assert child.trained == {"acoustic": 3, "vocoder": 0, "joint": 0}
    (named,) = child.parents
    assert named == {
        "role": "init_from", "digest": parent.digest, "step": 2, "weights": parent.weights_digest
    }  # fmt: skip
    moved = list(csv.DictReader((folder / "moved.csv").open()))
    assert [row["speaker"] for row in moved] == parent.speakers
    assert all(float(row["mel_distance"]) == float(row["duration_frames"]) == 0 for row in moved)
    (folder / "checkpoints" / "step0000002.ckpt").unlink()
    train(config(f"resume={folder}"))
    assert read_contract(resolve_ckpt(folder).path).parents == [named], "a resumed run has the parents it had"


def test_init_from_another_voice_is_refused_by_name(
    config: Make, refused: Refused, short: Path, corpus: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(corpus.parent, tmp_path / "corpus"))
    table = folder / corpus.name
    table.write_text(table.read_text().replace(",bert,", ",carl,").replace("eight", "joy"))
    told = refused(config("name=other", f"data.raw={table}", f"init_from={short}"))
    assert all(problem.startswith(f"init_from={short}: ") for problem in told)
    for part in (
        "speakers: 2 there, 2 here; 1 only here: carl; 1 only there: bert. Choose speakers.policy=extend",
        "symbols: the base has no ",
    ):
        assert any(part in problem for problem in told), (part, told)
    assert not (Path(config().outputs) / "other").exists()


def test_job_names() -> None:
    assert job_name(["precision=32-true", "model=a"]) == "model-a,precision-32-true"
    assert swept_keys(["model=a,b", "+seed=range(1,3)", "trainer.threads=2", "-m", "name='x,y'"]) == {"model", "+seed"}
    assert job_name([]) == "job"
    assert "/" not in job_name(["data.raw=/a/b"])
    long = [f"data.raw=/{'x' * 300}/{i}" for i in range(2)]
    assert len({job_name([override]) for override in long}) == 2
    assert all(len(job_name([override])) < 200 for override in long)


def test_what_a_run_starts_from_is_looked_at_before_its_corpus_is_prepared(
    config: Make, refused: Refused, short: Path, tmp_path: Path
) -> None:
    more = ["name=early", f"outputs={tmp_path / 'outputs'}", *ACOUSTIC]
    told = refused(
        config(
            *more,
            f"init_from={short}s",
            f"vocoder_from={short}",
            "speakers.policy=extnd",
            "speakers.replay=nowhere",
            "freeze=[vocodr]",
            "model.hidden=15",
        )
    )
    starts = [
        "speakers.policy=extnd: expected one of strict, extend, only_new, replace; did you mean extend?",
        "model: ",
        f"init_from={short}s: no such file or folder; nearest: {short}",
        f"vocoder_from={short}: its vocoder has learnt nothing",
        "speakers.replay=nowhere: holds no prepared corpus",
    ]
    assert len(told) == len(starts)
    assert all(problem.startswith(start) for problem, start in zip(told, starts, strict=True)), told
    told = refused(
        config(*more, f"init_from={short}", "freeze=[vocodr]", "speakers.policy=extend", "speakers.donor=ana")
    )
    assert told == [
        f"init_from={short}: speakers.donor=ana: the base has no such speaker; did you mean anna?",
        told[1],
    ]
    assert told[1].startswith("freeze: nothing is called vocodr; did you mean vocoder?")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["audio=16k"], "audio=8k: add it (5 fields differ; `unison diff` explains each)"),
        (["model.ffn=48"], "model.ffn=32: add it (1 field differs; `unison diff` explains each)"),
        (
            ["text=auto", "audio.fmin=50", "vocoder.width=8"],
            "vocoder.width=16 audio.fmin=0.0 text.frontend=english: add them (3 fields differ;",
        ),
    ],
)
def test_a_base_of_other_sizes_says_what_to_type(
    config: Make, refused: Refused, short: Path, tmp_path: Path, overrides: list[str], words: str
) -> None:
    (told,) = refused(config("name=early", f"outputs={tmp_path / 'outputs'}", f"init_from={short}", *overrides))
    assert told.startswith(f"init_from={short}: the base has {words}")


def test_sizes_are_told_by_the_names_of_their_presets() -> None:
    register()
    demo, plain = (compose_root("train", given) for given in (["experiment=demo"], []))
    assert overrides_of(demo, plain, {"model": ["hidden", "ffn"], "vocoder": ["name", "iterations"]}) == [
        "model=emotivoice_small",
        "vocoder=griffinlim",
    ]
    assert overrides_of(plain, demo, {"vocoder": ["name"], "model": ["hidden", "ffn"]}) == [
        "vocoder=hifigan",
        "model=emotivoice",
    ]
    wider = compose_root(
        "train", ["experiment=demo", "model.hidden=96", "vocoder=hifigan", "vocoder.upsample_rates=[8,4,4,2]"]
    )
    assert overrides_of(
        wider, plain, {"model": ["hidden", "ffn", "encoder_layers"], "vocoder": ["upsample_rates"]}
    ) == [
        "model=emotivoice_small",
        "model.hidden=96",
        "vocoder.upsample_rates=[8,4,4,2]",
    ]
