"""Weight-only quantisation by torchao: linear layers whose weights are kept in 8 or 4 bits; all else stays as it is.

What decoding waits for is the reading of weights; a value of a quantised one is a small integer times a factor that
its row (int8) or its group of a row (int4) shares.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING

import torch
from torch import nn

from unison.errors import UnisonError
from unison.precision import PrecisionPolicy

if TYPE_CHECKING:
    from torchao.core.config import AOBaseConfig

QUANTIZATIONS = ("int8", "int4")
GROUPS = (128, 64, 32)
"""How many weights share a factor in int4: the first of these that all rows can be cut into."""


def check_quantization(name: str, policy: PrecisionPolicy, device: torch.device) -> None:
    """See that weights of this kind can be computed with, before a voice is read.

    Raises:
        UnisonError: they can't, or torchao is missing; all that is wrong and what works.
    """
    if name not in QUANTIZATIONS:
        raise UnisonError(f"quantize={name}: no such kind; one of {', '.join(QUANTIZATIONS)}, or null for none")
    problems = []
    if importlib.util.find_spec("torchao") is None:
        problems.append(f"quantize={name} takes torchao: pip install 'unison-tts[quantization]'")
    if name == "int4":
        problems += _against_int4(policy, device)
    elif policy.compute_dtype == torch.float16:
        # a row's factor comes after its sum
        problems.append(
            f"quantize=int8: float16 (precision={policy.ran}) can't hold the sums, of weights up to 127:"
            " precision=32-true can, and bf16-true where the device has bfloat16"
        )
    if problems:
        raise UnisonError(problems)


def _against_int4(policy: PrecisionPolicy, device: torch.device) -> list[str]:
    if device.type not in ("cpu", "cuda"):
        return [f"quantize=int4: no kernel for device={device.type}; give quantize=int8 precision=32-true"]
    if device.type == "cuda" and (capability := torch.cuda.get_device_capability(device)) < (8, 0):
        found = ".".join(map(str, capability))
        return [
            f"quantize=int4: its kernel needs a GPU of compute capability 8.0 or more, this one has {found};"
            " give quantize=int8 precision=32-true"
        ]
    if policy.param_dtype != torch.bfloat16:
        return [
            f"quantize=int4: its kernels take bfloat16, and precision={policy.ran} has other parameters:"
            " give precision=bf16-true, or quantize=int8"
        ]
    return []


def quantize(blocks: nn.Module, name: str) -> None:
    """Quantise the weights of all linear layers of ``blocks``, in place, on the device where they are.

    Args:
        blocks: layers in the parameters' dtype that they run in; see :func:`check_quantization`.
        name: one of :data:`QUANTIZATIONS`.

    Raises:
        UnisonError: int4, and the rows can't be cut into groups.
    """
    # on its import torch warns of how torchao was written
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    from torchao.quantization import quantize_

    quantize_(blocks, _settings(blocks, name))


def _settings(blocks: nn.Module, name: str) -> AOBaseConfig:
    """torchao's own settings."""
    if name == "int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return Int8WeightOnlyConfig()
    linears = [layer for layer in blocks.modules() if isinstance(layer, nn.Linear)]
    widths = sorted({layer.in_features for layer in linears})
    group = next((group for group in GROUPS if not any(width % group for width in widths)), None)
    if group is None:
        # torchao would leave these layers as they are
        raise UnisonError(
            f"quantize=int4: takes groups of {GROUPS[-1]} weights or more, and layers that read"
            f" {', '.join(map(str, widths))} values can't be cut into those; quantize=int8 works"
        )
    if linears[0].weight.is_cuda:
        from torchao.quantization import Int4WeightOnlyConfig

        return Int4WeightOnlyConfig(group_size=group, int4_packing_format="tile_packed_to_4d")
    from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

    return PrototypeInt4WeightOnlyConfig(group_size=group)
