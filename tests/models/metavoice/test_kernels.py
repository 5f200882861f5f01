"""Kernels for a step of decoding: as the layers that they stand for."""

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

from unison.models.metavoice.blocks import GeluLayer, RMSNorm, SwiGLU, TransformerBlock

pytest.importorskip("triton")
NEAR = {"bfloat16": 0.05, "float16": 0.004}


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def found(request: pytest.FixtureRequest) -> Any:
    """In Triton's interpreter, and compiled."""
    root = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])
    script = Path(__file__).with_name("compared.py")
    run = subprocess.run(
        [sys.executable, script, request.param],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("rows", [1, 2, 3, 16])
@pytest.mark.parametrize("dtypes", ["bfloat16 bfloat16", "float16 float16", "bfloat16 float32"])
def test_a_step_of_a_block(found: Any, dtypes: str, rows: int) -> None:
    assert found["apart"][f"{dtypes} {rows}"] < NEAR[dtypes.split()[0]]


def test_a_step_of_a_block_of_8_bits(found: Any) -> None:
    assert found["apart"]["int8 2"] < NEAR["float16"]
    assert found["fusable"]


@pytest.mark.parametrize("which", ["even", "odd", "many", "many int8"])
def test_a_product(found: Any, which: str) -> None:
    """With and without masks, in programs of 8 and of 16 outputs, of inputs that float16 has no room for."""
    assert found["apart"][which] < NEAR["float16"]


def test_what_the_blocks_read(found: Any) -> None:
    *whole, half = found["embedded"]
    assert max(whole) < 1e-6
    assert half < 0.04


def test_the_next_tokens(found: Any) -> None:
    assert len(found["chosen"]) == 82
    assert all(expected == chosen == noted for expected, chosen, noted in found["chosen"])
    assert len({chosen for _, chosen, _ in found["chosen"]}) > 20


@pytest.mark.parametrize("weight", ["i8", "bf16"])
@pytest.mark.parametrize("few", [False, True])
def test_shared_memory(weight: str, few: bool) -> None:
    """Of the product that takes most, a gated one, on an A100; and on a GPU that has less than that."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from unison.models.metavoice import kernels

    n_outs, n_ins, stages = kernels.tiles(2048, 1 if weight == "i8" else 2)
    constants = {
        "ROWS": kernels._FEWER_ROWS if few else kernels.MOST_ROWS,
        "OUTS": n_outs, "INS": n_ins, "WARPS": 4, "STAGES": stages, "PARTS": 256,
        "EVEN": True, "GATED": True, "OVERLAP": False, "added": None, "gains": None, "gained": None,
        "own_squares": None,
    }  # fmt: skip
    pointers = {"x": "bf16", "weight": weight, "scale": "fp32", "squares": "fp32", "out": "bf16"}
    if weight != "i8":
        constants["scale"] = None
    names = kernels._product.arg_names
    types = dict.fromkeys(names, "i32") | {name: f"*{kind}" for name, kind in pointers.items()} | {"eps": "fp32"}
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name in (*pointers, "n_in", "n_out")}
    source = ASTSource(
        kernels._product,
        {name: "constexpr" if name in constants else types[name] for name in names},
        {(names.index(name),): value for name, value in constants.items()},
        aligned,
    )
    made = triton.compile(source, target=GPUTarget("cuda", 86 if few else 80, 32), options={"num_warps": 4})
    assert 50_000 < made.metadata.shared <= (101_376 if few else kernels._SHARED_BYTES)


def test_what_the_kernels_do_not_take() -> None:
    from unison.models.metavoice.kernels import fusable

    norm = partial(RMSNorm, 24, 1e-5)
    assert fusable([TransformerBlock(24, 3, 0.0, True, norm, SwiGLU(24, 8))])
    assert not fusable([TransformerBlock(24, 2, 0.0, True, norm, SwiGLU(24, 8))])  # heads of 12
    assert not fusable([TransformerBlock(24, 3, 0.0, True, norm, GeluLayer(24))])
    other = partial(torch.nn.LayerNorm, 24)
    assert not fusable([TransformerBlock(24, 3, 0.0, True, other, SwiGLU(24, 8))])
