"""The one place where a dtype is chosen.

A run asks for a precision (``16-mixed``); what the device can do decides what runs. Both are recorded in the contract.
Everything that has to know a dtype asks the policy: parameters, compute (through autocast), the loss scaler. A cache
has no dtype of its own, see :func:`cache_for`. Whatever must stay in float32 (losses, STFT and its inverse, softmax
over the vocabulary) says so where it is computed, with ``.float()``; a test holds the list of these places. What a
dtype can't hold is found by :func:`finite_check`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unison.errors import UnisonError

log = logging.getLogger(__name__)

_BITS = {"32": torch.float32, "16": torch.float16, "bf16": torch.bfloat16}
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d)
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true")


@dataclass(frozen=True)
class PrecisionPolicy:
    """Dtypes of one run on one device; make it with :func:`resolve_precision`."""

    asked: str
    ran: str
    device_type: str

    @property
    def compute_dtype(self) -> torch.dtype:
        """Dtype of matrix products and convolutions."""
        return _BITS[self.ran.split("-")[0]]

    @property
    def param_dtype(self) -> torch.dtype:
        """Dtype in which parameters are kept, but normalisation's: float32 unless the precision is ``…-true``."""
        return self.compute_dtype if self.ran.endswith("-true") else torch.float32

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The context in which models run.

        Also for ``…-true``: inputs such as style vectors and mels are float32, and autocast is what brings them to the
        parameters' dtype at each product, so that no module has to know it.
        """
        if self.compute_dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype=self.compute_dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaler: on for float16 gradients of float32 parameters, otherwise one that passes losses through."""
        return torch.amp.GradScaler(self.device_type, enabled=self.ran == "16-mixed")

    def cast(self, module: nn.Module) -> nn.Module:
        """Bring the parameters of ``module`` to the parameters' dtype, in place; returns it.

        Normalisation stays in float32: where nothing varies it divides by the root of its epsilon, and 1e6 is infinite
        in float16. So do buffers (windows, mel statistics), but for those of a parametrization, which meets its weight,
        and children that the module names in ``in_float32``.
        """
        kept = tuple(getattr(module, "in_float32", ()))
        for name, part in module.named_modules():
            precise = isinstance(part, _NORMS) or name.partition(".")[0] in kept
            dtype = torch.float32 if precise else self.param_dtype
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
            if "parametrizations" in name:
                part.to(dtype)
        return module

    def epsilon(self, eps: float) -> float:
        """An optimizer's epsilon that does not vanish in the parameters' dtype (1e-8 is 0 in float16)."""
        return max(eps, torch.finfo(self.param_dtype).tiny) if self.param_dtype == torch.float16 else eps

    def wider(self) -> str:
        """What to do about values that the compute dtype can't hold, for a message."""
        if self.compute_dtype == torch.float16:
            return "precision=bf16-mixed and 32-true hold larger numbers"
        if self.compute_dtype == torch.bfloat16:
            return "precision=32-true tells whether the weights themselves are at fault"
        return "in float32 that is the weights' own fault: an earlier checkpoint may be sound"


def resolve_precision(asked: str, device: torch.device | str) -> PrecisionPolicy:
    """What ``asked`` becomes on ``device``; a substitution is logged once, at warning level.

    Raises:
        UnisonError: the name is not one of :data:`PRECISIONS`.
    """
    if asked not in PRECISIONS:
        raise UnisonError(f"precision={asked}: no such precision; one of {', '.join(PRECISIONS)}")
    device_type = torch.device(device).type
    ran = asked
    if device_type == "cpu" and asked == "16-mixed":
        # a CPU has no fast float16 product and its gradients overflow without a GPU's loss scaling habits
        ran = "bf16-mixed"
    old_gpu = device_type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if asked.startswith("bf16") and (old_gpu or device_type == "mps"):
        ran = asked.replace("bf16", "16")
    if ran != asked:
        log.warning("precision=%s can't run on %s; %s runs instead (both are recorded)", asked, device_type, ran)
    return PrecisionPolicy(asked, ran, device_type)


def set_matmul(setting: str) -> None:
    """Float32 products and convolutions on a GPU, for the whole process: ``highest``, ``high`` (TF32) or ``medium``."""
    torch.set_float32_matmul_precision(setting)
    torch.backends.cudnn.allow_tf32 = setting != "highest"


def cache_for(written: Tensor, length: int) -> Tensor:
    """Room for ``length`` positions of keys or values [B, H, T, D]: zeros [B, H, length, D].

    A cache takes the dtype and device of what is written into it first: autocast and the layers before it decide that,
    and a dtype chosen beside them is one that will some day differ from the query's.
    """
    return written.new_zeros(*written.shape[:2], length, written.shape[3])


@contextlib.contextmanager
def finite_check(module: nn.Module) -> Iterator[None]:
    """Within, the first layer of ``module`` whose output is not finite stops the computation.

    Every output is looked at, and compiled layers run in eager mode: for finding a fault, not for every day.

    Raises:
        FloatingPointError: names the layer, its class and the dtype of its output.
    """
    names = {layer: name for name, layer in module.named_modules()}

    def look(layer: nn.Module, _: Any, output: Any) -> None:
        for values in _tensors(output):
            if values.is_floating_point() and not bool(values.isfinite().all()):
                kind, dtype = type(layer).__name__, str(values.dtype).removeprefix("torch.")
                raise FloatingPointError(
                    f"{names[layer] or 'the whole'} ({kind}) gives {dtype} values that are not finite"
                    f" ({dtype} reaches to {torch.finfo(values.dtype).max:g})"
                )

    hooks = [layer.register_forward_hook(look) for layer in names]
    try:
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def finite(values: Tensor, what: str) -> Tensor:
    """``values``, which are all finite.

    Raises:
        FloatingPointError: they are not; names ``what`` they are.
    """
    if not bool(values.isfinite().all()):
        raise FloatingPointError(f"{what} is not finite")
    return values


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif is_dataclass(output):
        yield from _tensors(list(vars(output).values()))
    elif isinstance(output, list | tuple):
        for value in output:
            yield from _tensors(value)
