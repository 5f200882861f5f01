"""``infer.py`` as a user meets it: what is typed, what lands on disk, and how it refuses."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import DictConfig

from unison.contract.checkpoint import read_contract
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.training.run import train

from .conftest import Infer


def newest(run_folder: Path) -> Path:
    return max((run_folder / "checkpoints").glob("*.ckpt"))


def samples(path: Path) -> np.ndarray:
    found, rate = soundfile.read(path, dtype="int16")
    assert rate == 8000
    return found


@pytest.fixture
def ckpt(run_folder: Path) -> str:
    return f"ckpt={run_folder}"


# -- what is typed ---------------------------------------------------------------------------------------------------


def test_wav_and_its_json(
    infer: Infer, ckpt: str, run_folder: Path, tmp_path: Path, voice: EmotiVoiceSynthesizer
) -> None:
    done = infer(
        ckpt, "text=Zero, one: two's three?", "speaker=anna", "seed=5", "out=new/folder/a.wav", "precision=32-true"
    )
    assert done.code == 0, done.err
    assert done.out.startswith("new/folder/a.wav  ")
    contract = read_contract(newest(run_folder))
    record = json.loads((tmp_path / "new/folder/a.json").read_text())
    assert record["request"] == {
        "text": "Zero, one: two's three?",
        "speaker": "anna",
        "prompt": None,
        "speed": 1.0,
        "pitch": 0.0,
        "pitch_range": 1.0,
        "energy": 1.0,
        "pause_scale": 1.0,
        "seed": 5,
    }
    assert record["checkpoint"] == {"contract": contract.digest, "weights": contract.weights_digest}
    assert record["precision"] == {"asked": "32-true", "ran": "32-true"}
    assert (record["audio"], record["sample_rate"], record["vocoder"]) == ("a.wav", 8000, "IstftHead")
    spoken = samples(tmp_path / "new/folder/a.wav")
    assert record["seconds"] == pytest.approx(len(spoken) / 8000, abs=1e-4)
    assert set(record["timings"]) == {"text", "acoustic", "vocoder"}
    total = sum(record["timings"].values())
    assert record["real_time_factor"] == pytest.approx(total / record["seconds"], rel=0.05, abs=0.01)
    expected, _ = voice.speak("Zero, one: two's three?", "anna", seed=5)
    assert np.array_equal(spoken, np.round(expected.clip(-1, 1).astype(np.float64) * 32767))


def test_flac_is_the_same_as_wav(infer: Infer, ckpt: str, tmp_path: Path) -> None:
    for out in ("a.wav", "b.flac"):
        assert infer(ckpt, "text=one two", "speaker=bert", f"out={out}").code == 0
    assert np.array_equal(samples(tmp_path / "a.wav"), samples(tmp_path / "b.flac"))
    assert soundfile.info(tmp_path / "b.flac").format == "FLAC"


def test_numbers_go_on(infer: Infer, ckpt: str, tmp_path: Path) -> None:
    for _ in range(2):
        assert infer(ckpt, "text=one", "speaker=anna").code == 0
    assert sorted(path.name for path in (tmp_path / "outputs/speech").iterdir()) == [
        "0001.json",
        "0001.wav",
        "0002.json",
        "0002.wav",
    ]


def test_lines_of_text_and_of_json(infer: Infer, ckpt: str, tmp_path: Path, voice: EmotiVoiceSynthesizer) -> None:
    lines = [
        "one, two",
        "",
        json.dumps({"text": "three", "speaker": "bert"}),
        json.dumps({"text": "four", "speed": 2, "seed": 3, "out": "sub/four.flac"}),
        '  {"text": "five", "speed": 0.5}  ',
    ]
    (tmp_path / "lines.txt").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    done = infer(ckpt, "text_file=lines.txt", "speaker=anna", "out=spoken", "precision=32-true")
    assert done.code == 0, done.err
    expected = {
        "0001.wav": ("one, two", "anna", 1.0, 0),
        "0002.wav": ("three", "bert", 1.0, 0),
        "sub/four.flac": ("four", "anna", 2.0, 3),
        "0003.wav": ("five", "anna", 0.5, 0),
    }
    written = {p.relative_to(tmp_path / "spoken").as_posix() for p in (tmp_path / "spoken").rglob("*.*")}
    assert written == set(expected) | {str(Path(name).with_suffix(".json")) for name in expected}
    for name, (text, speaker, speed, seed) in expected.items():
        alone, _ = voice.speak(text, speaker, speed=speed, seed=seed)
        assert len(samples(tmp_path / "spoken" / name)) == len(alone)
        np.testing.assert_allclose(samples(tmp_path / "spoken" / name) / 32767, alone, atol=2e-4)
    assert json.loads((tmp_path / "spoken/sub/four.json").read_text())["request"]["seed"] == 3


def test_standard_input(infer: Infer, ckpt: str, tmp_path: Path) -> None:
    for count, arguments in enumerate(([], ["text_file=-"]), 1):
        assert infer(ckpt, "speaker=anna", "out=in", *arguments, stdin="one\n\ntwo\u2028three").code == 0
        assert len(list((tmp_path / "in").glob("*.wav"))) == 2 * count


def test_chinese_on_the_command_line_of_a_shell(run_folder: Path, tmp_path: Path) -> None:
    repository = Path(__file__).resolve().parents[2]
    command = f'python "{repository}/infer.py" ckpt="{run_folder}" text=你好，世界 speaker=anna'
    environment = os.environ | {"PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"}  # type: ignore[attr-defined]
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the English frontend can't read '你' (U+4F60), '好' (U+597D), '世' (U+4E16), '界' (U+754C)"
        ": there is nothing to read in '你好，世界'\n"
    )
    assert not any(tmp_path.iterdir())


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["text=one", "speaker=ana"], "speaker=ana: this voice has no such speaker; nearest: anna"),
        (["text=one"], "speaker is missing: one of anna, bert"),
        (["text=", "speaker=anna"], "the text is empty: give text=…, text_file=… or lines on standard input"),
        (["text= … ", "speaker=anna"], "nothing to read aloud in ' … '"),
        (["text=one two", "speaker=anna", "max_chars=6"], "the text has 7 characters, the limit is 6: raise max_chars"),
        (["text=one", "speaker=anna", "speed=0"], "speed=0: expected 0.25 … 4"),
        (["text=one", "speaker=anna", "speed=nan"], "speed=nan: expected 0.25 … 4"),
        (["text=one", "speaker=anna", "speed=fast"], "speed: expected float, found 'fast'"),
        (["text=one", "speaker=anna", "seed=-1"], "seed=-1: expected a number from 0"),
        (["text=one", "speaker=anna", "batch_size=0"], "batch_size=0: expected at least 1"),
        (["text=one", "speaker=anna", "pause=-1"], "pause=-1: expected 0 … 60 seconds"),
        (["text=one", "speaker=anna", "threads=-2"], "threads=-2: expected 1 or more"),
        (["text=one", "speaker=anna", "device=gpu"], "device=gpu: unknown; one of auto, cpu, cuda, mps"),
        (["text=one", "speaker=anna", "device=meta"], "device=meta: unknown"),
        (["text=one", "speaker=anna", "precision=fp8"], "precision=fp8: no such precision; one of 32-true"),
        (["text=one", "speaker=anna", "precision=17"], "precision: expected str | null, found 17"),
        (["text=one", "speaker=anna", "vocoder=hifigan"], "vocoder=hifigan: the trained vocoder comes with the check"),
        (
            ["text=one", "speaker=anna", "prompt=glad"],
            "prompt=glad: no label glad; this voice was trained without style",
        ),
        (["text=one", "speaker=anna", "style_path=x"], "style_path=x: this voice was trained without an encoder"),
        (["text=one", "text_file=x"], "text and text_file are both given: give one"),
        (["text_file=lines"], "text_file=lines: No such file or directory; expected readable UTF-8 text"),
        (["text_file=."], "text_file=.: Is a directory"),
        (["text=one", "speaker=anna", "out=x.mp3"], "out=x.mp3: expected a .wav or .flac file, or a folder"),
        (["text=one", "speaker=anna", "out=/dev/null/x.wav"], "out: the folder /dev/null can't be made"),
        (["text=one", "speaker=anna", "out=/proc/x/"], "out: the folder /proc/x can't be made"),
        (["text=one", "sped=2"], "sped: no such field; did you mean speed?"),
        (["text=one", "+sped=2"], "sped: no such field; did you mean speed?"),
        (["text=one", "speed=[1"], "speed=[1: no viable alternative at input '[1'"),
        (["text"], "text: expected key=value"),
        (["text=one", "model=x"], "model=x: model can't be set here; the checkpoint carries it"),
        (["text=one", "audio.hop_length=3"], "audio.hop_length=3: audio can't be set here; the checkpoint carries it"),
        (["text=one", "+data.raw=x"], "+data.raw=x: data can't be set here; the checkpoint carries it"),
        (["text=one", "text.frontend=x"], "text.frontend=x: text can't be set here; the checkpoint carries it"),
        (["text=one", "vocoder.n_iter=3"], "vocoder.n_iter=3: vocoder can't be set here; the checkpoint carries it"),
        (["text=one", "style=none"], "style=none: style can't be set here; the checkpoint carries it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals(infer: Infer, ckpt: str, tmp_path: Path, arguments: list[str], problem: str) -> None:
    errors = infer(ckpt, *arguments).errors
    assert len(errors) == 1
    assert errors[0].startswith(problem)
    assert not list(tmp_path.iterdir())  # nothing was written, no folder made


def test_symbols_that_the_voice_never_heard(infer: Infer, ckpt: str) -> None:
    errors = infer(
        ckpt, "text=Jam, one two. Two jokes and a joy, a yacht, a judge, a shoe, a chew.", "speaker=anna"
    ).errors
    assert errors[0].startswith("“Jam”: this voice has never learnt [JH]")
    assert errors[1].startswith("“jokes”: this voice has never learnt [JH]")
    assert len(errors) == 7
    assert errors[5] == "and 3 more such words"
    assert errors[6].startswith("say it in other words, or train it with texts that have them (init_from=…")
    assert 'unison extend ckpt=… out=… \'symbols=["[JH]",' in errors[6]


def test_all_problems_at_once(infer: Infer, ckpt: str) -> None:
    errors = infer(ckpt, "text=", "speaker=nobody", "speed=9").errors
    assert [error.partition(":")[0] for error in errors] == ["speaker=nobody", "speed=9", "the text is empty"]


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", ["{} has no text: expected plain lines or JSON lines"]),
        ("\n  \n\r\n", ["{} has no text: expected plain lines or JSON lines"]),
        (
            'one\n{"text": "two"\n{"txt": "x"}\n{"text": 3}\n{"speaker": "anna"}\n{"text": "x", "speed": true}',
            [
                "{}, line 2: Expecting ',' delimiter",
                "{}, line 3: no such field 'txt'; known are text, speaker, prompt, speed, pitch, pitch_range, energy,"
                " pause_scale, seed, reference, guidance, temperature, top_p, top_k, out",
                "{}, line 4: text: expected str, found 3",
                "{}, line 5: text is missing",
                "{}, line 6: speed: expected int or float, found True",
            ],
        ),
        (b"caf\xe9", ["{}: 'utf-8' codec can't decode byte 0xe9"]),
        (
            '{"text": "one", "out": "a.wav"}\n{"text": "one", "out": "x/../a.flac"}\n{"text": "one", "out": "b.ogg"}',
            [
                "request 2: x/../a.flac (or its .json) is also written by request 1",
                "request 3: out=b.ogg: expected a .wav or .flac file",
            ],
        ),
        (
            'one\n{"text": "one", "speaker": "an"}\n{"text": " "}\n{"text": "one", "speed": 1e9}',
            ["request 2: speaker=an: ", "request 3: the text is empty", "request 4: speed=1e+09: expected"],
        ),
    ],
    ids=["empty", "blank", "json", "bytes", "out", "requests"],
)
@pytest.mark.parametrize("way", ["file", "pipe"])
def test_files_that_are_wrong(
    infer: Infer, ckpt: str, tmp_path: Path, content: str | bytes, problems: list[str], way: str
) -> None:
    given = content.encode() if isinstance(content, str) else content
    if way == "file":
        (tmp_path / "f.txt").write_bytes(given)
        errors = infer(ckpt, "speaker=anna", "text_file=f.txt").errors
        source = "text_file=f.txt"
    else:
        errors, source = infer(ckpt, "speaker=anna", stdin=given).errors, "standard input"
    assert len(errors) == len(problems)
    for error, problem in zip(errors, problems, strict=True):
        assert error.startswith(problem.format(source))


def test_one_file_for_two_texts(infer: Infer, ckpt: str) -> None:
    errors = infer(ckpt, "speaker=anna", "out=a.wav", stdin="one\ntwo").errors
    assert errors == ["out=a.wav: one file for 2 texts; give a folder"]


def test_out_may_be_a_folder_with_a_dot(infer: Infer, ckpt: str, tmp_path: Path) -> None:
    (tmp_path / "v0.1").mkdir()
    for out in ("v0.1", "v0.2/"):
        assert infer(ckpt, "speaker=anna", "text=one", f"out={out}").code == 0
        assert (tmp_path / out / "0001.wav").is_file()
    (tmp_path / "a.wav").mkdir()
    assert infer(ckpt, "speaker=anna", "text=one", "out=a.wav").code == 0
    assert (tmp_path / "a.wav" / "0001.wav").is_file()


def test_numbers_step_around_given_names(infer: Infer, ckpt: str, tmp_path: Path) -> None:
    done = infer(ckpt, "speaker=anna", "out=o", stdin='one\n{"text": "two", "out": "0001.flac"}\nthree')
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "o").glob("*.[wf]*")} == {"0001.flac", "0002.wav", "0003.wav"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(infer: Infer, ckpt: str, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    assert infer(ckpt, "speaker=anna", "text=one", "out=shut").errors == [
        "out: shut can't be written to; choose another folder"
    ]


def test_what_was_spoken_before_a_failure_stays(infer: Infer, ckpt: str, tmp_path: Path) -> None:
    (tmp_path / "o" / "0002.json").mkdir(parents=True)  # in the way of the second one's
    done = infer(ckpt, "speaker=anna", "out=o", "batch_size=1", stdin="six\nseven eight nine")
    assert done.code == 2
    assert "error: o/0002.json: can't be written (Is a directory)" in done.err
    assert "Traceback" not in done.err
    assert len(samples(tmp_path / "o/0001.wav")) > 0
    assert json.loads((tmp_path / "o/0001.json").read_text())["request"]["text"] == "six"


# -- checkpoints that are not to be trusted --------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("missing", "no such file or folder"),
        ("empty", "the file is empty"),
        ("truncated", "the file is truncated"),
        ("flipped", "the file is damaged: its SHA-256 is"),
        ("foreign", "a PyTorch file, but not a Unison checkpoint"),
        ("pickle", "unpickling it would run code: it imports posix.system"),
        ("torch", "unpickling it would run code: it imports posix.system"),
        ("text", "not a Unison checkpoint, and no PyTorch file either"),
    ],
)
def test_damaged_checkpoints(infer: Infer, run_folder: Path, tmp_path: Path, damage: str, problem: str) -> None:
    path = tmp_path / "x.ckpt"
    content = bytearray(newest(run_folder).read_bytes())
    if damage == "empty":
        path.touch()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "foreign":
        torch.save({"state_dict": {"weight": torch.ones(3)}}, path)
    elif damage == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif damage == "torch":
        torch.save({"contract": Bomb()}, path)
    elif damage == "text":
        path.write_text("weights")
    errors = infer(f"ckpt={path}", "text=one", "speaker=anna").errors
    assert len(errors) == 1
    assert problem in errors[0]
    assert str(path) in errors[0]
    assert not (tmp_path / "exploded").exists()


def test_the_newest_valid_checkpoint_of_a_run(infer: Infer, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder / "checkpoints", tmp_path / "run/checkpoints")
    old, new = sorted((tmp_path / "run/checkpoints").glob("*.ckpt"))
    new.write_bytes(new.read_bytes()[:-1000])
    done = infer("ckpt=run", "text=one", "speaker=anna", "out=a.wav")
    assert done.code == 0
    assert f"taking {old.name}, the newest valid checkpoint: " in done.err
    assert f"{new.name}: the file is truncated" in done.err
    assert json.loads((tmp_path / "a.json").read_text())["checkpoint"]["contract"] == read_contract(old).digest
    old.write_bytes(b"")
    errors = infer("ckpt=run", "text=one", "speaker=anna").errors
    assert errors[0].endswith("none of its 2 checkpoints is valid")
    assert len(errors) == 3


def test_a_zip_is_no_checkpoint(infer: Infer, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as file:
        file.writestr("a", "b")
    assert "not a Unison checkpoint" in infer("ckpt=x.ckpt", "text=one").errors[0]


# -- a process among others ------------------------------------------------------------------------------------------

Fresh = Callable[..., "subprocess.Popen[str]"]


def many(folder: Path) -> str:
    (folder / "many.txt").write_text("one two three four five\n" * 2000)
    return "text_file=many.txt"


def test_control_c(fresh: Fresh, ckpt: str, tmp_path: Path) -> None:
    process = fresh(ckpt, "speaker=anna", many(tmp_path), "out=o", "batch_size=1", "vocoder=griffinlim")
    while not (tmp_path / "o/0003.wav").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.rstrip().endswith("interrupted")
    assert "Traceback" not in err
    for path in (tmp_path / "o").glob("*.wav"):
        assert len(samples(path)) > 0  # whole, or not there
    assert len(samples(tmp_path / "o/0001.wav")) > 0


def test_a_reader_that_goes_away(fresh: Fresh, ckpt: str, tmp_path: Path) -> None:
    process = fresh(ckpt, "speaker=anna", many(tmp_path), "out=o", "batch_size=1")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("o/0001.wav  ")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


# -- a voice that has the symbols ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bilingual(config: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on one speaker's Chinese and English."""
    folder = tmp_path_factory.mktemp("bilingual")
    texts = ["你好，世界", "Hello, world: it's 5 o'clock", "世界，你好", "Hello, world. it's 5 o'clock!"]
    rows = ["path|text|speaker|split"]
    for index, text in enumerate(texts):
        rng = np.random.default_rng(index)
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.normal(size=16000).clip(-3, 3), 8000)
        rows.append(f"{index}.wav|{text}|li|{'valid' if index == 3 else 'train'}")
    (folder / "corpus.csv").write_text("\n".join(rows), encoding="utf-8")
    steps = ["trainer=acoustic", "trainer.stages.acoustic.steps=1"]
    train(config(f"data.raw={folder}/corpus.csv", f"outputs={folder}", "name=li", "text=auto", *steps))
    return folder / "li"


@pytest.mark.parametrize(
    "text", ["你好，世界", "Hello, world: it's 5 o'clock", " {世界} [你好]，", "'hello' {world}, \\ [it's]"]
)
def test_free_text_is_spoken_as_typed(bilingual: Path, infer: Infer, tmp_path: Path, text: str) -> None:
    done = infer(f"ckpt={bilingual}", f"text={text}", "out=a.wav")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["request"]["text"] == text
    assert len(samples(tmp_path / "a.wav")) > 0
