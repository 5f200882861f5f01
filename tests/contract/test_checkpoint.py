from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract_helpers import Evil, contract, payload, sealed, zip_with_pickle
from omegaconf import OmegaConf

import unison.files
from unison.contract import ResolvedCkpt, archive, read_checkpoint, read_contract, read_weights, write_checkpoint
from unison.errors import UnisonError


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    path = tmp_path / "step0000400.ckpt"
    write_checkpoint(payload(), path)
    return path


def message(path: Path) -> str:
    with pytest.raises(UnisonError) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


@pytest.mark.parametrize("mmap", [True, False])
def test_round_trip(ckpt: Path, mmap: bool) -> None:
    assert_same(read_checkpoint(ckpt, mmap=mmap), payload())
    assert read_contract(ckpt).speakers == ["theo", "小明", "lucas"]
    assert os.listdir(ckpt.parent) == [ckpt.name]


def test_file_stays_a_torch_file_and_a_zip(ckpt: Path) -> None:
    assert_same(torch.load(ckpt, weights_only=True), payload())
    with zipfile.ZipFile(ckpt) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"unison-sha256:")


def test_the_format_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(payload(), path)
    sealed(path)
    assert_same(read_checkpoint(path), payload())


def test_parameters_and_ordered_dicts_become_plain(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    layer.weight.note = object()  # type: ignore[assignment]
    write_checkpoint(
        {"state": layer.state_dict(), "params": OrderedDict(layer.named_parameters())}, tmp_path / "a.ckpt"
    )
    read = read_checkpoint(tmp_path / "a.ckpt")
    assert type(read["state"]) is dict
    assert type(read["params"]["weight"]) is torch.Tensor
    assert not read["params"]["weight"].requires_grad
    assert torch.equal(read["params"]["weight"], layer.weight)


def test_other_types_are_refused_by_path_before_writing(ckpt: Path) -> None:
    before = ckpt.read_bytes()
    values = {
        "hparams": {"model": OmegaConf.create({"a": 1})},
        "folder": [Path("x"), 1],
        "rng": np.zeros(3),
        "scale": np.float64(1.0),
        "counts": Counter("ab"),
        "names": {"a", "b"},
        "module": torch.nn.Linear(1, 1),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(2, device="meta"),
        "keys": {(1, 2): 3},
        "fine": {"a": [1, 2.5, None, True, "x", (1,)], 3: torch.zeros(1)},
    }
    with pytest.raises(UnisonError) as caught:
        write_checkpoint(values, ckpt)
    named = [problem.split(":")[0] for problem in caught.value.problems]
    expected = [
        "hparams.model",
        "folder[0]",
        "rng",
        "scale",
        "counts",
        "names",
        "module",
        "sparse",
        "meta",
        "keys",
    ]
    assert named == expected
    assert "omegaconf.dictconfig.DictConfig" in caught.value.problems[0]
    assert ckpt.read_bytes() == before
    assert os.listdir(ckpt.parent) == [ckpt.name]


def test_every_flipped_bit_is_refused(ckpt: Path) -> None:
    whole = ckpt.read_bytes()
    assert_same(read_checkpoint(ckpt), payload())
    places = {*range(0, 200), *range(0, len(whole), 37), *range(len(whole) - 200, len(whole))}
    for place in sorted(places):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        ckpt.write_bytes(flipped)
        assert "damaged" in message(ckpt), place


def test_a_file_is_hashed_once_until_it_changes(ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []
    digest = archive._digest
    monkeypatch.setattr(archive, "_digest", lambda view: hashed.append(len(view)) or digest(view))
    for _ in range(2):  # just written: another change might have the same time
        read_checkpoint(ckpt)
    assert len(hashed) == 2
    monkeypatch.setattr(archive, "_SETTLED_NS", 0)
    for _ in range(3):
        read_checkpoint(ckpt)
    assert len(hashed) == 3
    before = ckpt.stat()
    with ckpt.open("r+b") as file:
        file.seek(100)
        file.write(b"?")
    os.utime(ckpt, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "damaged" in message(ckpt)


def test_every_truncation_is_refused(ckpt: Path) -> None:
    whole = ckpt.read_bytes()
    for length in {1, 2, 3, 4, 5, 30, *range(100, len(whole), 211), *range(len(whole) - 110, len(whole))}:
        ckpt.write_bytes(whole[:length])
        assert "truncated" in message(ckpt), length


def test_bytes_behind_the_end_are_refused(ckpt: Path) -> None:
    ckpt.write_bytes(ckpt.read_bytes() + b"more")
    assert "damaged at its end" in message(ckpt)


def test_each_unfit_file_has_its_own_message(ckpt: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    path.write_bytes(b"")
    assert "empty" in message(path)
    path.write_text("Thank you for downloading!\n")
    assert "not a Unison checkpoint, and no PyTorch file" in message(path)
    path.write_text("corpus\nfoo\n")  # the opcodes of an import, but no pickle
    assert "not a Unison checkpoint, and no PyTorch file" in message(path)
    path.write_bytes(os.urandom(3000))
    assert "not a Unison checkpoint" in message(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "ZIP archive, but not a Unison checkpoint" in message(path)
    torch.save({"a": torch.zeros(2), "b": torch.nn.Parameter(torch.ones(1))}, path)
    assert "a PyTorch file, but not a Unison checkpoint" in message(path)
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    assert "a pickle, but not a Unison checkpoint" in message(path)
    path.write_bytes(pickle.dumps({"a": [1, 2]}))
    assert "a pickle, but not a Unison checkpoint" in message(path)
    assert "found a folder" in message(tmp_path)
    assert f"no such file; nearest: {ckpt}" in message(tmp_path / "step0000040.ckpt")
    assert f"there is no nowhere in {tmp_path}" in message(tmp_path / "nowhere" / "a.ckpt")


def test_a_url_is_never_followed() -> None:
    with pytest.raises(UnisonError, match="download it first"):
        read_checkpoint("https://example.org/a.ckpt")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("form", ["pickle", "zip", "sealed zip"])
def test_code_is_named_and_never_run(tmp_path: Path, form: str, protocol: int) -> None:
    path = tmp_path / "a.ckpt"
    value = {"contract": contract().to_dict(), "state_dict": {"x": Evil(tmp_path)}}
    path.write_bytes(pickle.dumps(value, protocol=protocol) if form == "pickle" else zip_with_pickle(value, protocol))
    if form == "sealed zip":
        sealed(path)
    text = message(path)
    assert "would run code: it imports posix.system" in text or "would run code: it imports nt.system" in text
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("new_format", [True, False])
def test_torch_files_with_code(tmp_path: Path, new_format: bool) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"a": torch.zeros(3), "b": Evil(tmp_path)}, path, _use_new_zipfile_serialization=new_format)
    assert "posix.system" in message(path)
    torch.save({"hparams": OmegaConf.create({"a": 1})}, path, _use_new_zipfile_serialization=new_format)
    assert "omegaconf.dictconfig.DictConfig" in message(path)
    assert not (tmp_path / "ran").exists()


def test_names_from_the_memo_and_computed_names(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    # a dict holds both names first; STACK_GLOBAL then takes them from the memo
    body = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x04true\x85R."
    assert "posix.system" in (path.write_bytes(body), message(path))[1]
    path.write_bytes(b"(S'true'\nios\nsystem\n.")
    assert "os.system" in message(path)


def test_right_digest_without_a_contract(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write_checkpoint({"a": torch.zeros(2)}, path)
    with pytest.raises(UnisonError, match="no contract in it"):
        read_contract(path)
    torch.save([1, 2], path)
    sealed(path)
    assert "expected a dict, found list" in message(path)
    path.write_bytes(b"no archive" + bytes(40))
    sealed(path)
    assert "no torch archive is in front of it" in message(path)
    write_checkpoint({"contract": contract().to_dict() | {"step": "x"}}, path)
    with pytest.raises(UnisonError, match=r"a\.ckpt: contract\.step: expected int, found 'x'"):
        read_contract(path)


def test_weights_to_speak_with(ckpt: Path) -> None:
    ours, weights = read_weights(ResolvedCkpt(ckpt, "file"))
    assert ours.step == 400
    assert set(weights) == {"weight", "half", "count", "empty"}
    average = torch.full((40, 50), 2.0)
    states = {"voice.weight": average - 1, "ema.module.weight": average, "ema.n_averaged": torch.tensor(3)}
    write_checkpoint(payload(state_dict=states), ckpt)
    ours, weights = read_weights(ResolvedCkpt(ckpt, "file"))
    assert list(weights) == ["weight"]
    assert torch.equal(weights["weight"], average)


def test_weights_of_another_run_under_this_contract(ckpt: Path) -> None:
    write_checkpoint(payload(800) | {"contract": payload(400)["contract"]}, ckpt)
    with pytest.raises(UnisonError, match="the weights are not the contract's"):
        read_weights(ResolvedCkpt(ckpt, "file"))


class Full:
    """A file on a disk that takes `room` bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, chunk: Any) -> int:
        self.room -= len(chunk)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(chunk)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 50, 5000, "all but the digest"])
def test_full_disk_keeps_the_earlier_checkpoint(ckpt: Path, room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = ckpt.read_bytes()
    if room == "all but the digest":
        room = len(before) - 80

    def full(*arguments: Any, **options: Any) -> Full:
        return Full(open(*arguments, **options), room)  # Full closes it

    monkeypatch.setattr(unison.files, "open", full, raising=False)
    with pytest.raises(UnisonError, match="the disk is full; the earlier file is untouched"):
        write_checkpoint(payload(800), ckpt)
    with pytest.raises(UnisonError, match="the disk is full; nothing was written"):
        write_checkpoint(payload(800), ckpt.with_name("new.ckpt"))
    assert ckpt.read_bytes() == before
    assert os.listdir(ckpt.parent) == [ckpt.name]


def test_a_really_full_device() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    from unison.contract.archive import write_archive

    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb", buffering=0) as file:
        write_archive(payload(), file)


KILLED = """
import sys, torch
from pathlib import Path
from unison.contract import write_checkpoint
from unison.contract import archive
write = archive._HashingSink.write
def slow(self, chunk):
    if len(chunk) > 1 << 20:
        write(self, chunk[: 1 << 19]); self.file.flush()
        print("halfway", flush=True); sys.stdin.read()
    return write(self, chunk)
archive._HashingSink.write = slow
write_checkpoint({"a": torch.ones(1 << 20)}, Path(sys.argv[1]))
"""


def test_killed_while_writing(ckpt: Path) -> None:
    before = ckpt.read_bytes()
    command = [sys.executable, "-c", KILLED, str(ckpt)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"halfway\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert ckpt.read_bytes() == before
    assert read_contract(ckpt).step == 400
    write_checkpoint(payload(800), ckpt)
    assert read_contract(ckpt).step == 800
