"""A MetaVoice of random weights, whole, as a checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from unison.audio.geometry import AudioGeometry
from unison.builders import build_voice
from unison.contract.checkpoint import VOICE_PREFIX, write_checkpoint
from unison.contract.contract import Contract
from unison.contract.weights import weights_digest
from unison.text.bpe import BytePairs
from unison.vocoders.weight_norm import fold_weight_norm

RATE = 8000
HOP = 160
CODEC = {
    "name": "codec",
    "channels": 4,
    "max_channels": 8,
    "strides": [4, 5, 8],
    "dilations": [1],
    "residual_kernel": 3,
    "codebook_size": 32,
    "codebook_dim": 8,
}
FIRST = {"name": "metavoice_first", "layers": 1, "heads": 2, "hidden": 32, "ffn_multiple": 16, "text_tokens": 300}
SECOND = {"name": "metavoice_second", "layers": 1, "heads": 2, "hidden": 16, "text_tokens": 300}


def made(path: Path, second: bool = False, guidance: float = 3.0, top_k: int | None = None, **changes: Any) -> Path:
    """Write a voice of anna and bert, 50 frames a second of 2 codes (4 with a second stage), and return its path."""
    window = changes.pop("window", 1024)
    codebooks = changes.pop("codebooks", 4 if second else 2)
    first = FIRST | {"max_positions": window, "codebooks": 2, "guidance": guidance, "top_k": top_k}
    identity = {"digest": "d", "step": 1, "weights": "w" * 64}
    components = {
        "codec": identity | {"model": CODEC | {"codebooks": codebooks}, "sample_rate": RATE},
        "speaker_encoder": identity
        | {"model": {"name": "speaker_encoder", "hidden": 8, "layers": 1, "dim": 16}, "sample_rate": RATE},
    }
    model, second_window = first, changes.pop("second_window", 512)
    if second:
        components["first_stage"] = identity | {"model": first, "sample_rate": RATE}
        model = SECOND | {"max_positions": second_window, "given": 2, "predicted": 2}
    values: dict[str, Any] = {
        "config": OmegaConf.to_yaml({"model": model, "precision": {"matmul": "highest"}}),
        "speakers": ["anna", "bert"],
        "symbols": [],
        "geometry": asdict(AudioGeometry(RATE, 512, 128, 512, 40, 0.0, 4000.0)),
        "family": "metavoice",
        "statistics": {"seconds_per_token": 0.2, "longest_seconds": 8.0},
        "tokenizer": BytePairs.train(["one two three four five six seven"] * 2, 300).to_dict(),
        "precision": {"asked": "32-true", "ran": "32-true"},
        "components": components,
    }
    contract = Contract(**(values | changes))
    torch.manual_seed(0)
    voice: Any = fold_weight_norm(build_voice(contract))
    voice.speakers.copy_(torch.nn.functional.normalize(torch.rand(2, 16), dim=-1))
    weights = voice.state_dict()
    contract = contract.replace(weights_digest=weights_digest(weights))
    state = {VOICE_PREFIX + name: tensor for name, tensor in weights.items()}
    write_checkpoint({"contract": contract.to_dict(), "state_dict": state}, path)
    return path
