"""A compiled training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unison.compilation import compile_module
from unison.config.compilation import CompileConfig


@pytest.mark.parametrize("stage", ["acoustic", "vocoder"])
def test_a_compiled_step_learns_the_same(stepper: Callable[..., Any], stage: str) -> None:
    import torch._dynamo

    torch._dynamo.reset()
    dropouts = [f"model.{name}_dropout=0" for name in ("encoder", "decoder", "duration", "variance")]
    settings = [*dropouts, "losses.adversarial=0", f"trainer.stages.{stage}.warmup_steps=0"]
    eager, compiled = stepper(stage, *settings), stepper(stage, *settings)
    start, names = eager.copy(stage), list(compiled.task.state_dict())
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    compilation = compile_module(compiled.task.voice, CompileConfig("default", "error"), backend)
    for made in (eager, compiled):
        made.step()
    assert graphs
    assert compilation.ran == "default"
    learnt = compiled.copy(stage)
    for name, value in eager.copy(stage).items():
        torch.testing.assert_close(learnt[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert any(not torch.equal(start[name], value) for name, value in learnt.items())
    assert list(compiled.task.state_dict()) == names
