"""The benchmark measures what it says; how fast is no test's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from tests.conftest import TINY
from unison import cli
from unison.bench import language, machine, preparation, run, runs, speech
from unison.compilation import compile_module
from unison.config.compilation import CompileConfig
from unison.config.tools import BenchConfig
from unison.errors import UnisonError
from unison.models.metavoice import FirstStage, FirstStageConfig
from unison.precision import resolve_precision
from unison.quantization import quantize

SIZES = [o for o in TINY if o.startswith(("model", "vocoder", "discriminator"))]
FIRST = ["model=metavoice_tiny", "model.layers=2", "model.heads=2", "model.hidden=16", "model.ffn_multiple=8"]
OFF = CompileConfig()
CONFIG: dict[str, Any] = {
    "what": ["startup"],
    "models": None,
    "precisions": ["32-true"],
    "device": "cpu",
    "compile": {"mode": "off", "fallback": "eager"},
    "quantize": None,
    "tokens": 32,
    "minutes": 2.0,
    "threads": 1,
    "repeats": 1,
    "out": None,
}


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MATRIX_BYTES", 2**20)
    monkeypatch.setattr(machine, "SQUARE", {"cpu": 64})


def config(**changes: Any) -> BenchConfig:
    return BenchConfig(**CONFIG | {"compile": OFF} | changes)


def test_contract_describes_a_voice_that_can_be_built() -> None:
    described = runs.contract(["model=emotivoice", "vocoder=hifigan"])
    from unison.builders import build_voice

    voice = build_voice(described)
    assert sum(p.numel() for p in voice.model.vocoder.parameters()) == 13_936_130
    assert "[K]" in described.symbols


def test_prompts_are_measured() -> None:
    measured = speech.prompt(2)
    assert set(measured) == {"seconds", "remembered_seconds"}
    assert min(measured.values()) > 0


def test_synthesis_and_training_cases_run() -> None:
    spoken = speech.synthesis(1, SIZES, "32-true")
    assert spoken["rtf"] == pytest.approx(spoken["seconds"] / (300 * 256 / 16000))
    assert speech.training(1, SIZES, "bf16-mixed")["seconds"] > 0


def test_run_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "CASES", {"startup": lambda _: [("help", speech.startup_help, ())]})
    out = tmp_path / "figures.json"
    run.run(OmegaConf.create(CONFIG | {"out": str(out)}))
    assert json.loads(out.read_text())["help"]["seconds"] > 0
    assert "help" in capsys.readouterr().out
    with pytest.raises(UnisonError, match="expected any of startup"):
        run.run(OmegaConf.create(CONFIG | {"what": ["speed"]}))


def test_nothing_is_measured_that_can_t_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnisonError, match=r"file/figures\.json"):
        run.run(OmegaConf.create(CONFIG | {"what": ["startup"], "out": str(tmp_path / "file/figures.json")}))
    with pytest.raises(UnisonError) as raised:
        run.cases(config(threads=0, repeats=0))
    assert raised.value.problems == ["threads=0: expected 1 or more", "repeats=0: expected 1 or more"]


def test_rows_of_language_models() -> None:
    """Every preset and precision, guided and not; the large one on a processor only when it is asked for."""
    precisions = ["32-true", "bf16-mixed", "bf16-true"]
    names = [name for name, _, _ in run.cases(config(what=["decoding", "language_training"], precisions=precisions))]
    assert names == [
        *(
            f"decode: metavoice_{size}, {precision}, guidance {guidance}, cpu"
            for size in ("tiny", "small")
            for precision in precisions
            for guidance in ("off", "on")
        ),
        *(f"train: metavoice_{size}, {precision}, cpu" for size in ("tiny", "small") for precision in precisions),
    ]
    (name, _, arguments), _ = run.cases(config(what=["decoding"], models=["metavoice_1b"], quantize="int8"))
    assert name == "decode: metavoice_1b, 32-true int8, guidance off, cpu"
    assert arguments[0] == ["model=metavoice_1b"]


def test_what_can_t_be_quantised_is_told_before() -> None:
    with pytest.raises(UnisonError, match="quantize=int4: its kernels take bfloat16"):
        run.cases(config(what=["decoding"], quantize="int4"))


def test_weights_of_8_bits_are_counted_as_such() -> None:
    policy = resolve_precision("bf16-true", "cpu")
    model = policy.cast(FirstStage(FirstStageConfig(layers=2, heads=2, hidden=16, ffn_multiple=8), 10, 4))
    whole = language.step_bytes(model, policy, 1, live=0)
    weights = sum(weight.numel() for weight in model.blocks.parameters() if weight.dim() > 1)
    rows = sum(len(weight) for weight in model.blocks.parameters() if weight.dim() > 1)
    quantize(model.blocks, "int8")
    # a byte less a weight; a row has a factor of 32 bits, and a zero of 8
    assert whole - language.step_bytes(model, policy, 1, live=0) == weights - 5 * rows


def test_all_that_is_unknown_is_told_at_once() -> None:
    with pytest.raises(UnisonError) as raised:
        run.cases(config(what=["decoding"], models=["metavoice_lb"], precisions=["half"]))
    assert raised.value.problems == [
        "models: no metavoice_lb; one of metavoice_tiny, metavoice_small, metavoice_1b; did you mean metavoice_1b?",
        "precisions: no half; one of 32-true, 16-mixed, bf16-mixed, 16-true, bf16-true",
    ]


def test_more_tokens_than_a_window_holds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run("bench", ["what=[decoding]", "device=cpu", "tokens=1000"])
    wrong = "tokens=1000: expected 32 to 974, as many as the window of metavoice_tiny holds"
    assert capsys.readouterr().err == f"error: {wrong}\n"


@pytest.mark.parametrize(("precision", "wide"), [("32-true", 4), ("bf16-mixed", 2), ("bf16-true", 2)])
def test_bytes_of_a_step_by_hand(precision: str, wide: int) -> None:
    policy = resolve_precision(precision, "cpu")
    model = FirstStage(FirstStageConfig(layers=2, heads=2, hidden=16, ffn_multiple=8, text_tokens=30), 10, 4)
    policy.cast(model)
    # queries, keys, values and what they are mixed to; gates, what they gate, and back: 8/3 of 16 is 42, rounded up 48
    block = 16 * (3 * 16) + 16 * 16 + 16 * (2 * 48) + 48 * 16
    head = (2 * 10 + 1 + 30 + 1) * 16
    norms = (2 * 2 + 1) * 16
    cache = 2 * (2 * 16) * 100 * wide
    for rows in (1, 2):
        expected = (2 * block + head) * wide + norms * 4 + rows * cache
        assert language.step_bytes(model, policy, rows, live=100) == expected


@pytest.mark.parametrize("guided", [False, True])
def test_decoding_is_held_against_machine_and_llama_in_one_run(guided: bool) -> None:
    pytest.importorskip("transformers")
    figures = language.decoding(1, FIRST, "bf16-true", guided, "cpu", OFF, None, 48)
    assert figures["gb_per_second"] == pytest.approx(figures["mb_a_step"] * figures["tokens_per_second"] / 1e3)
    assert figures["share"] == pytest.approx(figures["gb_per_second"] / figures["mv_gb_per_second"])
    assert figures["hf_ratio"] == pytest.approx(figures["tokens_per_second"] / figures["hf_tokens_per_second"])
    assert figures["first_token_seconds"] > 0
    # the second and third pieces, after a text of 50 and a piece of 16: 67 to 98 positions
    model = FirstStage(FirstStageConfig(2, 2, 16, 8, text_tokens=300, max_positions=1024), 1024, 256)
    policy = resolve_precision("bf16-true", "cpu")
    assert figures["mb_a_step"] == pytest.approx(
        language.step_bytes(policy.cast(model), policy, 1 + guided, 82.5) / 1e6
    )


def test_llama_has_the_first_stage_s_sizes() -> None:
    pytest.importorskip("transformers")
    model = FirstStage(FirstStageConfig(2, 2, 16, 8, text_tokens=30, max_positions=64), 10, 4)
    llama = language.Llama(model, resolve_precision("32-true", "cpu"), 2, torch.device("cpu"))
    ours, theirs = language.read(model), list(llama.model.parameters())
    assert sum(weight.numel() for weight in theirs) == sum(weight.numel() for weight in ours)
    assert llama.piece().shape == (2, 1)
    assert llama.positions == language.PROMPT + 15
    llama.piece()
    assert llama.positions == language.PROMPT + 31


def test_without_transformers_there_is_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language.importlib.util, "find_spec", lambda name: None)
    assert "hf_ratio" not in language.decoding(1, FIRST, "32-true", False, "cpu", OFF, None, 32)


def test_compile_time_is_a_figure_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "compile_module", partial(compile_module, backend="eager"))
    figures = language.decoding(1, FIRST, "32-true", True, "cpu", CompileConfig("default", "error"), None, 32)
    assert figures["compile_seconds"] > 0


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_language_training(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "FRAMES", 10)
    figures = language.language_training(1, FIRST, precision, "cpu", OFF)
    tokens = language.SEQUENCES["cpu"] * (50 + 2 * 10)
    assert figures["tokens_per_second"] == pytest.approx(tokens / figures["seconds"])
    model = FirstStage(FirstStageConfig(2, 2, 16, 8, text_tokens=300), 1024, 256)
    weights = sum(p.numel() for p in model.parameters()) - model.positions.weight.numel() - model.speaker.weight.numel()
    assert figures["gflops"] == pytest.approx(6 * weights * figures["tokens_per_second"] / 1e9)
    assert figures["share"] == pytest.approx(figures["gflops"] / figures["peak_gflops"])


def test_preparation_is_measured_interrupted_and_continued() -> None:
    """Real processes and real signals: what went wrong with them would be raised, or counted."""
    ((name, function, arguments),) = run.cases(config(what=["prepare"], minutes=1.0, threads=1))
    assert name == "prepare: 1 min of 48 kHz clips, 1 cores"
    figures = function(1, *arguments)
    assert figures["hours"] == pytest.approx(1 / 60)
    assert figures["times_real_time"] == pytest.approx(60 / figures["seconds"])
    assert figures["half_gb"] > 0
    assert (figures["interrupted"], figures["lost"], figures["twice"], figures["identical"]) == (2, 0, 0, 1)


def test_memory_of_a_process_is_that_of_its_children_too() -> None:
    fill = "import sys; x = bytearray(80 * 2**20); print(flush=True); sys.stdin.read()"
    nested = f"import subprocess, sys; x = bytearray(80 * 2**20); subprocess.run([sys.executable, '-c', {fill!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", nested], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        assert 160 < preparation.tree_bytes(process.pid) / 2**20 < 240
        process.stdin.close()
    assert preparation.tree_bytes(os.getpid()) > 2**20
