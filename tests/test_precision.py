"""One setting decides every dtype; what was asked for and what ran are two facts."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from unison.contract.checkpoint import read_checkpoint, read_contract, resolve_ckpt
from unison.errors import UnisonError
from unison.inference.synthesizer import load
from unison.precision import PRECISIONS, PrecisionPolicy, cache_for, finite_check, resolve_precision, set_matmul

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


@pytest.mark.parametrize(
    ("ran", "params", "compute", "scaled"),
    [
        ("32-true", F32, F32, False),
        ("16-mixed", F32, F16, True),
        ("bf16-mixed", F32, BF16, False),
        ("16-true", F16, F16, False),
        ("bf16-true", BF16, BF16, False),
    ],
)
def test_dtypes(ran: str, params: torch.dtype, compute: torch.dtype, scaled: bool) -> None:
    policy = PrecisionPolicy(ran, ran, "cpu")
    assert (policy.param_dtype, policy.compute_dtype) == (params, compute)
    assert policy.scaler().is_enabled() == scaled
    layer = policy.cast(torch.nn.Linear(2, 3))
    assert {parameter.dtype for parameter in layer.parameters()} == {params}
    with policy.autocast():
        assert layer(torch.ones(1, 2)).dtype == compute, "float32 goes in whatever the parameters are"
    assert torch.tensor(policy.epsilon(1e-8), dtype=params) > 0


def test_windows_and_statistics_keep_their_precision() -> None:
    layer = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 4))
    layer.register_buffer("window", torch.hann_window(8))
    layer = PrecisionPolicy("bf16-true", "bf16-true", "cpu").cast(layer)
    assert torch.equal(layer.window, torch.hann_window(8))
    assert layer(torch.ones(1, 4, dtype=BF16)).dtype == BF16, "a parametrization's buffers meet its weight"


def test_normalisation_keeps_its_precision() -> None:
    """EmotiVoice's epsilon makes 1e6 of padding, where nothing varies: infinite in float16, its gradient NaN."""
    policy = PrecisionPolicy("16-true", "16-true", "cpu")
    model = policy.cast(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, eps=1e-12)))
    assert {name: parameter.dtype for name, parameter in model.named_parameters()} == {
        "0.weight": F16,
        "0.bias": F16,
        "1.weight": F32,
        "1.bias": F32,
    }
    nn.init.zeros_(model[0].bias)
    with policy.autocast():
        out = model(torch.stack([torch.ones(4), torch.zeros(4)]))
    assert out.dtype == F16
    out[0].square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("asked", PRECISIONS)
def test_on_a_cpu(asked: str, caplog: pytest.LogCaptureFixture) -> None:
    policy = resolve_precision(asked, "cpu")
    ran = "bf16-mixed" if asked == "16-mixed" else asked
    assert (policy.asked, policy.ran, policy.device_type) == (asked, ran, "cpu")
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == (asked != ran)


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
    assert resolve_precision("bf16-mixed", "cuda").ran == expected
    assert resolve_precision("16-mixed", "cuda:1").ran == "16-mixed"
    assert resolve_precision("bf16-true", "mps").ran == "16-true"


@pytest.mark.parametrize(("setting", "tf32"), [("highest", False), ("high", True), ("medium", True)])
def test_float32_on_a_gpu(setting: str, tf32: bool) -> None:
    set_matmul(setting)
    assert torch.get_float32_matmul_precision() == setting
    assert torch.backends.cudnn.allow_tf32 == tf32


def test_an_unknown_precision() -> None:
    with pytest.raises(UnisonError, match="precision=16: no such precision; one of 32-true, 16-mixed"):
        resolve_precision("16", "cpu")


# -- caches: the crashes of MetaVoice's users --------------------------------------------------------------------------


class CachedAttention(nn.Module):
    """Causal self-attention as MetaVoice's fast model has it: a speaker added to the tokens, a normalisation, keys and
    values kept from step to step; ``cache`` is the dtype of a cache that is allocated beforehand."""

    def __init__(self, cache: torch.dtype | None = None, by_index: bool = False) -> None:
        super().__init__()
        self.speaker, self.qkv, self.out = nn.Linear(3, 8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.by_index = by_index
        self.kept = None if cache is None else [torch.zeros(1, 2, 6, 4, dtype=cache) for _ in range(2)]
        self.query_dtype: torch.dtype | None = None

    def forward(self, tokens: torch.Tensor, speaker: torch.Tensor, start: int) -> torch.Tensor:
        x = tokens + self.speaker(speaker)
        x = (x.float() * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-5)).to(x.dtype)
        query, *written = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        self.query_dtype, end = query.dtype, start + tokens.shape[1]
        if self.kept is None:
            self.kept = [cache_for(values, 6) for values in written]
        for cache, values in zip(self.kept, written, strict=True):
            if self.by_index:
                cache[:, :, torch.arange(start, end)] = values
            else:
                cache[:, :, start:end] = values
        allowed = torch.arange(end) <= torch.arange(start, end)[:, None]
        key, value = (cache[:, :, :end] for cache in self.kept)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.out(mixed.transpose(1, 2).flatten(2))


def attention(cache: torch.dtype | None = None, by_index: bool = False) -> CachedAttention:
    torch.manual_seed(0)
    return CachedAttention(cache, by_index)


ISSUE = "Expected query, key, and value to have the same dtype, but got query.dtype: float key.dtype: c10::Half"


@pytest.mark.parametrize(
    ("weights", "cache", "speaker", "by_index", "compiled", "message"),
    [
        # as shipped: bfloat16 weights, float16 cache and speaker, the prompt's pass compiled …
        (BF16, F16, F16, True, True, ISSUE),
        # … in eager mode the speaker's product is first
        (BF16, F16, F16, True, False, "must have the same dtype|to have the same dtype"),
        # all one dtype
        (F16, F16, F16, True, False, None),
        (F16, F16, F16, True, True, None),
        # float32 weights with the same cache, written by index or by slice
        (F32, F16, F32, True, False, "Index put requires the source and destination dtypes match"),
        (F32, F16, F32, False, False, ISSUE),
    ],
)
def test_dtypes_chosen_beside_each_other_crash(
    weights: torch.dtype, cache: torch.dtype, speaker: torch.dtype, by_index: bool, compiled: bool, message: str | None
) -> None:
    """What the next test is about, as it was reported: three dtypes, three choices."""
    model = attention(cache, by_index).to(weights)
    step = torch.compile(model, backend="eager", dynamic=True, fullgraph=True) if compiled else model
    with contextlib.nullcontext() if message is None else pytest.raises(RuntimeError, match=message):
        step(torch.ones(1, 2, 8, dtype=weights), torch.ones(1, 1, 3, dtype=speaker), 0)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("by_index", [False, True])
@pytest.mark.parametrize("ran", PRECISIONS)
@torch.no_grad()
def test_a_cache_takes_the_dtype_of_what_is_written(ran: str, by_index: bool, compiled: bool) -> None:
    policy = PrecisionPolicy(ran, ran, "cpu")
    speaker, tokens = torch.randn(1, 1, 3), torch.randn(1, 6, 8)
    whole = attention()(tokens, speaker, 0)
    model = policy.cast(attention(by_index=by_index))
    torch.compiler.reset()
    step = torch.compile(model, backend="eager", dynamic=True) if compiled else model
    with policy.autocast():
        parts = [step(tokens[:, a:b].to(policy.param_dtype), speaker, a) for a, b in ((0, 3), (3, 4), (4, 6))]
    assert {cache.dtype for cache in model.kept} == {model.query_dtype} == {policy.compute_dtype}
    torch.testing.assert_close(torch.cat(parts, 1).float(), whole, atol=0.03, rtol=0.03)


# -- what does not fit -------------------------------------------------------------------------------------------------


class Overflowing(nn.Module):
    """Its second layer's output is ``scale`` times its input."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
        nn.init.constant_(self.layers[0].weight, 1.0)
        nn.init.constant_(self.layers[1].weight, scale)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        out = self.layers(x)
        return out, [out]


@pytest.mark.parametrize(("ran", "finite"), [("16-true", False), ("bf16-true", True), ("32-true", True)])
def test_the_first_layer_that_is_not_finite_is_named(ran: str, finite: bool) -> None:
    policy = PrecisionPolicy(ran, ran, "cpu")
    model = policy.cast(Overflowing(30000.0))
    outcome = contextlib.nullcontext() if finite else pytest.raises(FloatingPointError)
    with outcome as caught, finite_check(model), policy.autocast():
        model(torch.ones(1, 2))
    if not finite:
        assert (
            str(caught.value) == "layers.1 (Linear) gives float16 values that are not finite (float16 reaches to 65504)"
        )
    assert not any(layer._forward_hooks for layer in model.modules()), "nothing is looked at afterwards"


def test_compiled_layers_are_looked_into_as_well() -> None:
    model = Overflowing(math.inf)
    model.compile(backend="eager")
    model(torch.ones(1, 2))
    with pytest.raises(FloatingPointError, match=r"layers\.1 \(Linear\) gives float32"), finite_check(model):
        model(torch.ones(1, 2))


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("model.acoustic.decoder.blocks.0.ffn_in", "TimeConv"),
        ("model.acoustic.duration_predictor.out", "Linear"),
        ("model.vocoder.blocks.0.inner", "Linear"),
    ],
)
def test_speaking_names_the_layer_that_overflows(run_folder: Path, layer: str, kind: str) -> None:
    voice = load(run_folder, "cpu", "16-true")
    with torch.no_grad():
        voice.voice.get_submodule(layer).weight.mul_(1e6).clamp_(-6e4, 6e4)
    with pytest.raises(UnisonError) as caught:
        voice.speak("one two three", "anna")
    (problem,) = caught.value.problems
    assert problem == (
        f"precision=16-true: {layer} ({kind}) gives float16 values that are not finite (float16 reaches to 65504);"
        " precision=bf16-mixed and 32-true hold larger numbers"
    )


def test_a_voice_that_is_broken_in_float32_says_so(run_folder: Path) -> None:
    voice = load(run_folder, "cpu", "32-true")
    with torch.no_grad():
        voice.voice.model.acoustic.symbols.weight[:] = math.nan
    with pytest.raises(UnisonError, match=r"symbols \(Embedding\) gives float32 .* an earlier checkpoint may be sound"):
        voice.speak("one", "anna")


# -- from training to speech -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "ran", "dtype"),
    [("16-mixed", "bf16-mixed", F32), ("16-true", "16-true", F16), ("bf16-true", "bf16-true", BF16)],
)
def test_a_run_records_both_and_keeps_its_dtype(
    config: Callable[..., DictConfig], asked: str, ran: str, dtype: torch.dtype
) -> None:
    """Through all stages."""
    from unison.training.run import train

    stages = [f"trainer.stages.{stage}.steps=1" for stage in ("acoustic", "vocoder", "joint")]
    cfg = config(f"name=in-{asked}", f"precision={asked}", *stages)
    train(cfg)
    folder = Path(cfg.outputs) / cfg.name
    path = resolve_ckpt(folder).path
    assert read_contract(path).precision == {"asked": asked, "ran": ran}
    states = read_checkpoint(path)["state_dict"]
    kept = {name: value.dtype for name, value in states.items() if name.startswith(("voice.", "discriminator."))}
    assert {kept.pop(f"voice.model.acoustic.mel_{what}") for what in ("mean", "std")} == {F32}
    norms = {kept.pop(name) for name in list(kept) if "norm" in name}
    assert norms == {F32}
    assert set(kept.values()) - {torch.int64} == {dtype}
    assert {v.dtype for n, v in states.items() if n.startswith("ema.module.")} - {torch.int64} == {F32}
    assert all(value.isfinite().all() for value in states.values())
    voice = load(folder, "cpu")
    assert (voice.policy.asked, voice.policy.ran) == (ran, ran), "speaks in what training ran with"


def test_what_a_module_keeps_in_float32() -> None:
    module = torch.nn.ModuleDict({"kept": torch.nn.Linear(2, 2), "cast": torch.nn.Linear(2, 2)})
    module.in_float32 = ("kept",)  # type: ignore[assignment]
    resolve_precision("bf16-true", "cpu").cast(module)
    assert module["kept"].weight.dtype == torch.float32
    assert module["cast"].weight.dtype == torch.bfloat16
