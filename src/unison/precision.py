"""The one place where a dtype is chosen.

A run asks for a precision (``16-mixed``); what the device can do decides what runs. Both are recorded in the contract.
Everything that has to know a dtype asks the policy: parameters, compute (through autocast), the loss scaler.
Whatever must stay in float32 (losses, STFT and its inverse, softmax over the vocabulary) says so where it is computed,
with ``.float()``.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass

import torch
from torch import nn

from unison.errors import UnisonError

log = logging.getLogger(__name__)

_BITS = {"32": torch.float32, "16": torch.float16, "bf16": torch.bfloat16}
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
        """Dtype in which parameters are kept: float32 unless the precision is ``…-true``."""
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

        Buffers stay as they are (windows, mel statistics), but for those of a parametrization, which meets its weight.
        """
        for parameter in module.parameters():
            parameter.data = parameter.data.to(self.param_dtype)
        for name, part in module.named_modules():
            if "parametrizations" in name:
                part.to(self.param_dtype)
        return module

    def epsilon(self, eps: float) -> float:
        """An optimizer's epsilon that does not vanish in the parameters' dtype (1e-8 is 0 in float16)."""
        return max(eps, torch.finfo(self.param_dtype).tiny) if self.param_dtype == torch.float16 else eps


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
    """Float32 matrix products on a GPU: ``highest``, ``high`` (TF32) or ``medium``."""
    torch.set_float32_matmul_precision(setting)
