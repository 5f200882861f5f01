"""A small contract and checkpoint for these tests."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from unison.audio.geometry import AudioGeometry
from unison.contract import Contract, speaking_weights, weights_digest


def contract(**changes: Any) -> Contract:
    values: dict[str, Any] = {
        "config": "model:\n  name: emotivoice\n  hidden: 8\n",
        "speakers": ["theo", "小明", "lucas"],
        "symbols": ["_", "<sos/eos>", "AA1", "b"],
        "geometry": asdict(AudioGeometry()),
        "labels": {"emotion": ["happy", "sad"]},
        "statistics": {"mel_mean": [0.5, -1.0], "mel_std": [1.0, 2.0], "f0_mean": 180.0, "f0_std": 40.5},
        "style": {"name": "none"},
        "frontend": {"name": "english", "version": "1"},
        "precision": {"asked": "16-mixed", "ran": "bf16-mixed"},
        "data": {"name": "demo", "fingerprint": "ab12", "sizes": {"train": 90, "valid": 10}},
        "versions": {"unison": "0.1.0", "git_commit": None, "git_clean": True},
        "step": 400,
        "trained": {"acoustic": 300, "joint": 100},
    }
    return Contract(**(values | changes))


def payload(step: int = 400, **changes: Any) -> dict[str, Any]:
    """A checkpoint's payload with Lightning's look."""
    generator = torch.Generator().manual_seed(step)
    values: dict[str, Any] = {
        "epoch": 3,
        "global_step": step,
        "state_dict": {
            "voice.weight": torch.randn(40, 50, generator=generator),
            "voice.half": torch.randn(7, generator=generator).bfloat16(),
            "voice.count": torch.tensor(5),
            "voice.empty": torch.zeros(0, 3),
            "discriminator.weight": torch.randn(9, generator=generator),
        },
        "optimizer_states": [{"state": {0: {"step": 4.0}}, "param_groups": [{"betas": (0.9, 0.99), "fused": None}]}],
    }
    values |= changes
    ours = contract(step=step, weights_digest=weights_digest(speaking_weights(values)))
    return {"contract": ours.to_dict()} | values


class Evil:
    """Unpickling it creates the file `ran`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.folder / 'ran'}",)


def sealed(path: Path) -> None:
    """Give any torch file the digest that a checkpoint has, by the published format."""
    archive = path.read_bytes()
    assert archive.endswith(b"\0\0")
    comment = b"unison-sha256:" + hashlib.sha256(archive).hexdigest().encode()
    path.write_bytes(archive[:-2] + len(comment).to_bytes(2, "little") + comment)


def zip_with_pickle(value: Any, protocol: int) -> bytes:
    """A torch-like archive around a pickle of any protocol."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=protocol))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()
