"""Compilation by torch.compile: in place, at the first call, and with a way back to eager mode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from unison.config.compilation import CompileConfig
from unison.errors import UnisonError
from unison.models.emotivoice.blocks import Predictor, TransformerBlock
from unison.models.metavoice.blocks import TransformerBlock as LanguageBlock
from unison.vocoders.hifigan import Stage
from unison.vocoders.istft import ConvNextBlock

log = logging.getLogger(__name__)

REGIONS = (TransformerBlock, Predictor, Stage, ConvNextBlock, LanguageBlock)
"""What is compiled: layers from tensors to a tensor, where the work is. Around them lengths are looked at, phases drawn
and spectra transformed, which a compiler can't take or gains nothing by. Layers of one shape share their code. A codec
and a speaker encoder have none: convolutions and LSTM are a library's kernels, and compiled they came out slower."""
_VARIANTS = 256
_CUDA_GRAPHS = ("reduce-overhead", "max-autotune")

Backend = str | Callable[..., Any]


class Compilation:
    """The compiled regions of a module, made by :func:`compile_module`; what was asked for, and what runs."""

    def __init__(self, config: CompileConfig, regions: Sequence[nn.Module], backend: Backend) -> None:
        self.asked: str = config.mode
        self.ran: str = config.mode
        """``off`` where there is nothing to compile, and from the moment that compilation has failed."""
        self._fallback = config.fallback
        self._regions = regions
        self._backend = backend
        for region in regions:
            # nn.Module.compile() puts the compiled call in this place: names of parameters stay, copies are eager
            region._compiled_call_impl = self._call_of(region)

    def _call_of(self, region: nn.Module) -> Callable[..., Tensor]:
        """The region's call, compiled when it is first needed."""

        @cache
        def compiled() -> Callable[..., Tensor]:
            return _compiled(region, self.asked, self._backend)

        def call(*args: Any, **kwargs: Any) -> Tensor:
            try:
                output = compiled()(*args, **kwargs)
            except Exception as error:
                # what eager mode can't do either is no fault of compilation's, and raises here
                output = region._call_impl(*args, **kwargs)
                self._give_up(error)
                return output
            # a CUDA graph will write its next result over this one
            return output.clone() if output.is_cuda and self.asked in _CUDA_GRAPHS else output

        return call

    def _give_up(self, error: Exception) -> None:
        problem = f"compile={self.asked} fails on this machine: {_cause(error)}"
        if self._fallback == "error":
            hint = "compile.fallback=eager goes on without it, compile=off does not try"
            raise UnisonError(f"{problem}; {hint}") from error
        self.ran = "off"
        for region in self._regions:
            region._compiled_call_impl = None
        log.warning("%s; going on in eager mode", problem)


def compile_module(module: nn.Module, config: CompileConfig, backend: Backend = "inductor") -> Compilation:
    """Compile what :data:`REGIONS` names inside ``module``, in place, each when it is first called.

    Lengths and batch sizes may vary without another compilation. Where it fails, ``config.fallback`` decides, and the
    call itself raises:

    Raises:
        UnisonError: compilation failed and ``fallback`` is ``error``; names the cause.
    """
    regions = [part for part in module.modules() if isinstance(part, REGIONS)] if config.mode != "off" else []
    compilation = Compilation(config, regions, backend)
    if regions:
        log.info("compile=%s: each layer is compiled at its first call, which takes a while", config.mode)
    elif config.mode != "off":
        compilation.ran = "off"
        log.warning("compile=%s: this model has no layers that gain by it; it runs in eager mode", config.mode)
    return compilation


def _compiled(region: nn.Module, mode: str, backend: Backend) -> Callable[..., Tensor]:
    from torch import _dynamo  # takes a second to import

    # all regions count as variants of one function, nn.Module's call; beyond 8 the rest would silently stay eager
    _dynamo.config.recompile_limit = max(_VARIANTS, _dynamo.config.recompile_limit)
    return torch.compile(region._call_impl, dynamic=True, mode=mode, backend=backend)


def _cause(error: BaseException) -> str:
    """The error's own message in a line, without the compiler's hints on how to debug it."""
    name = type(error).__name__
    text = " ".join(line.strip() for line in str(error).partition("\n\n")[0].splitlines())
    return f"{name}: {text}" if text else name
