"""Compilation: what is compiled and when, lengths that vary, and what happens where it fails."""

from __future__ import annotations

import copy
import itertools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from unison.compilation import REGIONS, Compilation, compile_module
from unison.config.compilation import CompileConfig
from unison.config.train import TrainConfig
from unison.config.tree import groups
from unison.config.validate import validate
from unison.errors import UnisonError
from unison.inference.synthesizer import load
from unison.models.emotivoice.blocks import Predictor, TransformerBlock
from unison.models.metavoice.blocks import RMSNorm, SwiGLU
from unison.models.metavoice.blocks import TransformerBlock as LanguageBlock
from unison.training.folders import with_overrides
from unison.vocoders.hifigan import HifiGan, HifiGanConfig
from unison.vocoders.istft import ConvNextBlock

STRICT = CompileConfig("default", "error")
LENIENT = CompileConfig("default", "eager")


class Counter:
    """A backend that runs the captured graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


class Broken(Counter):
    """A backend that can't compile here."""

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        super().__call__(graph, inputs)
        raise RuntimeError("no compiler on this machine\n\nset VERBOSE=1 for more")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Compiled code is kept with the function, for all modules, and so is what was counted: no test sees another's."""
    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def stack() -> nn.Module:
    """Two blocks of one shape and a predictor."""
    torch.manual_seed(0)
    blocks = [TransformerBlock(8, 2, 16, 3, 0.0, 1e-12) for _ in range(2)]
    return nn.ModuleList([*blocks, Predictor(1, 8, 4, 3, 0.0, 1e-12)]).eval()


@torch.no_grad()
def run(stack: nn.Module, batch: int, length: int, padded: int = 0) -> torch.Tensor:
    x = torch.randn(batch, length, 8, generator=torch.Generator().manual_seed(length))
    mask = torch.ones(batch, length, dtype=torch.bool) if padded else None
    if mask is not None:
        mask[-1, -padded:] = False
    for layer in stack:
        x = layer(x, mask)
    return x


# -- what is compiled --------------------------------------------------------------------------------------------------


def test_in_place_at_the_first_call(stack: nn.Module) -> None:
    expected, names, backend = run(stack, 1, 5), list(stack.state_dict()), Counter()
    compilation = compile_module(stack, STRICT, backend)
    assert backend.graphs == 0, "nothing is compiled before it is called"
    assert torch.equal(run(stack, 1, 5), expected)
    assert backend.graphs == 2, "two blocks of one shape share their code"
    assert list(stack.state_dict()) == names
    assert (compilation.asked, compilation.ran) == ("default", "default")


def test_a_copy_is_not_compiled(stack: nn.Module) -> None:
    backend = Counter()
    compile_module(stack, STRICT, backend)
    run(copy.deepcopy(stack), 1, 5)
    assert backend.graphs == 0


def test_off_compiles_nothing(stack: nn.Module) -> None:
    backend = Broken()
    compilation = compile_module(stack, CompileConfig(), backend)
    run(stack, 1, 5)
    assert backend.graphs == 0
    assert (compilation.asked, compilation.ran) == ("off", "off")


def test_a_model_without_such_layers_says_so(caplog: pytest.LogCaptureFixture) -> None:
    compilation = compile_module(nn.LSTM(2, 2), STRICT, Broken())
    assert (compilation.asked, compilation.ran) == ("default", "off")
    assert "compile=default: this model has no layers that gain by it; it runs in eager mode" in caplog.text


def test_lengths_and_batches_vary_without_another_compilation(stack: nn.Module) -> None:
    backend, block = Counter(), stack[:1]
    compile_module(block, STRICT, backend)
    for batch, padded in itertools.product((1, 2), (0, 2)):
        run(block, batch, 7, padded)
    assert backend.graphs == 4, "alone or several, with padding or without"
    for batch, length, padded in itertools.product((1, 2, 3), (4, 9, 16, 33), (0, 3)):
        run(block, batch, length, padded)
    assert backend.graphs == 4


def test_many_shapes_are_all_compiled() -> None:
    """Torch itself would go on in eager mode, silently, after eight variants of one function."""
    backend = Counter()
    layers = nn.ModuleList(Predictor(0, width, width, 3, 0.0, 1e-5) for width in range(2, 11))
    compile_module(layers, STRICT, backend)
    with torch.no_grad():
        for layer in layers:
            layer(torch.randn(2, 5, layer.out.in_features), None)
    assert backend.graphs == len(layers) == 9


def test_every_region_is_one_graph(stack: nn.Module) -> None:
    """No layer that is compiled holds something at which the compiler has to stop."""
    vocoder = HifiGan(HifiGanConfig(8, [4], [8], 1, [3], [[1]]), 4, 4)
    language = LanguageBlock(8, 2, 0.0, True, lambda: RMSNorm(8, 1e-5), SwiGLU(8, 8)).requires_grad_(False)
    modules = nn.ModuleList([stack, vocoder, ConvNextBlock(4, 8, 3, 1.0), language])
    compile_module(modules, STRICT, "eager")
    run(stack, 2, 6, padded=1)
    vocoder(torch.randn(2, 4, 5), torch.tensor([5, 3]))
    modules[2](torch.randn(1, 4, 5), None)
    with torch.inference_mode():
        language(torch.randn(1, 6, 8))
        language(torch.randn(1, 1, 8), None, torch.zeros(2, 1, 2, 6, 4), torch.tensor([[5]]))
        with torch.autocast("cpu", torch.bfloat16):
            language(torch.randn(1, 6, 8))
    assert {type(part) for part in modules.modules()} >= set(REGIONS)
    assert not torch._dynamo.utils.counters["graph_break"]


# -- where it fails ----------------------------------------------------------------------------------------------------


def test_eager_goes_on_with_one_warning(stack: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    expected, backend = [run(stack, 1, 5), run(stack, 2, 7)], Broken()
    compilation = compile_module(stack, LENIENT, backend)
    assert torch.equal(run(stack, 1, 5), expected[0])
    assert torch.equal(run(stack, 2, 7), expected[1])
    assert backend.graphs == 1, "what failed is not tried again"
    ours = [r for r in caplog.records if r.name.startswith("unison") and r.levelno >= logging.WARNING]
    (warning,) = [record.getMessage() for record in ours]
    assert warning.startswith("compile=default fails on this machine: ")
    assert warning.endswith(" RuntimeError: no compiler on this machine; going on in eager mode")
    assert (compilation.asked, compilation.ran) == ("default", "off")


def test_error_stops_with_the_cause(stack: nn.Module) -> None:
    compile_module(stack, STRICT, Broken())
    with pytest.raises(UnisonError) as caught:
        run(stack, 1, 5)
    (problem,) = caught.value.problems
    assert problem.startswith("compile=default fails on this machine: ")
    assert "no compiler on this machine; compile.fallback=eager goes on without it" in problem
    assert "VERBOSE" not in problem


def test_a_compiler_that_can_not_even_start(stack: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any, **__: Any) -> None:
        raise RuntimeError("torch.compile is not supported on Python 4")

    monkeypatch.setattr(torch, "compile", unsupported)
    compilation = compile_module(stack, LENIENT)
    run(stack, 1, 5)
    assert compilation.ran == "off"


def test_a_fault_of_the_call_is_not_compilations(stack: nn.Module) -> None:
    compilation = compile_module(stack, STRICT, "eager")
    run(stack, 1, 5)
    with pytest.raises(RuntimeError, match="normalized_shape"):
        stack[0](torch.randn(1, 5, 9))
    assert compilation.ran == "default"
    run(stack, 1, 6)


# -- training ----------------------------------------------------------------------------------------------------------


def test_a_compiled_vocoder_in_training_has_the_same_gradients() -> None:
    torch.manual_seed(0)
    eager = HifiGan(HifiGanConfig(8, [4], [8], 1, [3], [[1]]), 4, 4)
    compiled = copy.deepcopy(eager)
    compile_module(compiled, STRICT, "aot_eager")
    mel = torch.randn(2, 4, 6)
    for vocoder in (eager, compiled):
        vocoder(mel).square().sum().backward()
    for one, other in zip(eager.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad)


# -- as it is asked for ------------------------------------------------------------------------------------------------


def test_the_group_has_a_file_for_every_mode(config: Callable[..., DictConfig]) -> None:
    assert set(groups()["compile"]) == {"off", "default", "reduce-overhead", "max-autotune"}
    for mode in groups()["compile"]:
        typed = validate(config(f"compile={mode}", "compile.fallback=error").compile, CompileConfig)
        assert (typed.mode, typed.fallback) == (mode, "error")
    assert validate(config(), TrainConfig).compile == CompileConfig("off", "eager")


def test_a_run_from_before_there_was_a_choice_goes_on_with_one(config: Callable[..., DictConfig]) -> None:
    cfg = config("compile=default", "resume=somewhere")
    before = OmegaConf.create(
        {key: value for key, value in OmegaConf.to_container(config()).items() if key != "compile"}
    )
    assert validate(before, TrainConfig).compile.mode == "off"
    tree = with_overrides(before, cfg, ["resume=somewhere", "compile=default"])
    assert validate(tree, TrainConfig).compile == CompileConfig("default", "eager")


def test_training_compiles_when_asked(
    config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from unison.training import run as module

    backend = Broken()
    monkeypatch.setattr(module, "compile_module", lambda voice, asked: compile_module(voice, asked, backend))
    steps = ["trainer.stages.acoustic.steps=1", "trainer.stages.vocoder.steps=0", "trainer.stages.joint.steps=0"]
    settings = [*steps, "compile=default"]
    module.train(config("name=compiled", *settings))
    assert backend.graphs == 1
    assert len([record for record in caplog.records if "going on in eager mode" in record.getMessage()]) == 1
    with pytest.raises(UnisonError, match="no compiler on this machine"):
        module.train(config("name=strict", *settings, "compile.fallback=error"))


def test_speaking_compiled_is_speaking_the_same(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unison.inference import synthesizer as module

    backend = Counter()
    monkeypatch.setattr(module, "compile_module", lambda voice, asked: compile_module(voice, asked, backend))
    eager, compiled = load(run_folder, "cpu"), load(run_folder, "cpu", compile=STRICT)
    assert backend.graphs == 0
    for text in ("one two", "three four five six", "seven"):
        samples = [voice.speak(text, "anna")[0] for voice in (eager, compiled)]
        torch.testing.assert_close(*map(torch.from_numpy, samples))
    assert backend.graphs
    assert isinstance(compiled.compilation, Compilation)


def test_the_command(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, caplog: Any
) -> None:
    """``infer.py … compile=default compile.fallback=…`` on a machine without a compiler."""
    import torch._inductor.config as inductor

    from unison import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    given = ["infer", f"ckpt={run_folder}", "text=one", "speaker=anna", "device=cpu", "compile=default"]
    with inductor.patch({"cpp.cxx": (None, "/nowhere/g++")}):
        with pytest.raises(SystemExit, match="2"):
            cli.main([*given, "out=a.wav", "compile.fallback=error"])
        (error,) = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert error.startswith("error: compile=default fails on this machine: ")
        assert "C++ compiler" in error
        assert not (tmp_path / "a.wav").exists()
        with caplog.at_level(logging.WARNING):
            cli.main([*given, "out=b.wav"])
    assert json.loads((tmp_path / "b.json").read_text())["compile"] == {"asked": "default", "ran": "off"}
    assert len([record for record in caplog.records if "C++ compiler" in record.getMessage()]) == 1
    cli.main([*given[:-1], "out=c.wav", "compile=off", "precision=16-mixed"])
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["compile"] == {"asked": "off", "ran": "off"}
    assert record["precision"] == {"asked": "16-mixed", "ran": "bf16-mixed"}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("compile=fast", "compile.mode: expected one of off, default, reduce-overhead, max-autotune, found 'fast'"),
        ("compile.fallback=no", "compile.fallback: expected one of eager, error, found 'no'"),
        ("compile.falback=eager", "compile.falback: no such field; did you mean compile.fallback?"),
    ],
)
def test_a_wrong_choice(
    override: str, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    from unison import cli

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["infer", "ckpt=x", "text=one", override])
    assert capsys.readouterr().err == f"error: {problem}\n"
