"""The two doors, as the README writes them, on a miniature DataBaker corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import TINY, voice_like

ROOT = Path(__file__).parents[1]
SENTENCES = [
    ("你好#1世界#4。", "ni2 hao3 shi4 jie4"),
    ("世界#2你好#4。", "shi4 jie4 ni2 hao3"),
    ("你好#3，世界#4。", "ni3 hao3 shi4 jie4"),
    ("卡尔普#2陪外孙#1玩滑梯#4。", "ka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1"),
]


@pytest.fixture(scope="module")
def bznsyp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in BZNSYP's published layout, at its 48 kHz."""
    raw = tmp_path_factory.mktemp("BZNSYP")
    (raw / "Wave").mkdir()
    (raw / "ProsodyLabeling").mkdir()
    lines = []
    for number in range(1, 13):
        text, pinyin = SENTENCES[number % len(SENTENCES)]
        lines += [f"{number:06d}\t{text}", f"\t{pinyin}"]
        wave = voice_like(240.0, 0.5 + 0.2 * len(pinyin.split()), 48000, number)
        soundfile.write(raw / "Wave" / f"{number:06d}.wav", wave, 48000)
    (raw / "ProsodyLabeling" / "000001-010000.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return raw


def door(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


def test_databaker_trains_and_speaks(bznsyp: Path, tmp_path: Path) -> None:
    sizes = [o for o in TINY if not o.startswith(("data=", "audio=", "text="))]
    trained = door(
        "train.py",
        "data=databaker",
        "precision=16-mixed",
        *sizes,
        f"data.raw={bznsyp}",
        f"outputs={tmp_path}",
        "name=b",
    )
    assert trained.returncode == 0, trained.stderr
    out = tmp_path / "hello.wav"
    spoken = door("infer.py", f"ckpt={tmp_path / 'b'}", "text=你好，世界", f"out={out}")
    assert spoken.returncode == 0, spoken.stderr
    samples, rate = soundfile.read(out)
    assert rate == 16000
    assert len(samples) > 1600
    assert np.isfinite(samples).all()
    said = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert said["request"]["text"] == "你好，世界"
    # the processor has no fast float16: what was asked for and what ran are two facts
    assert said["precision"]["ran"] == "bf16-mixed"
    contract = json.loads(door("-m", "unison.cli", "inspect", f"ckpt={tmp_path / 'b'}", "format=json").stdout)[
        "contract"
    ]
    assert contract["precision"] == {"asked": "16-mixed", "ran": "bf16-mixed"}
    assert contract["speakers"] == ["BZNSYP"]
