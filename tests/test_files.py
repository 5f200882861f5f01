"""Whatever happens, the file is the old one or the new one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unison.errors import UnisonError
from unison.files import replacing, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def interrupted(path: Path, error: BaseException) -> None:
    with replacing(path) as file:
        file.write(b"new")
        raise error


def test_bytes_and_text(tmp_path: Path) -> None:
    with replacing(tmp_path / "new" / "a.bin") as file:
        file.write(b"head tail")
        file.seek(0)
        file.write(b"HEAD")
        assert names(tmp_path / "new") != ["a.bin"]
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"HEAD tail"
    write_text(tmp_path / "a.txt", "你好\r\nx\n")
    write_text(tmp_path / "a.txt", "你好\n")
    assert (tmp_path / "a.txt").read_bytes() == "你好\n".encode()
    assert names(tmp_path) == ["a.txt", "new"]


def test_the_file_is_as_readable_as_any(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_an_error_inside_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(type(error)):
        interrupted(tmp_path / "a", error)
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk(tmp_path: Path, number: int) -> None:
    write_text(tmp_path / "a", "old")
    for name, says in (("a", "the earlier file is untouched"), ("b", "nothing was written")):
        with pytest.raises(UnisonError, match=f"/{name}: the disk is full; {says}; free some space"):
            interrupted(tmp_path / name, OSError(number, "full"))
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failure_at_the_last_moment(tmp_path: Path, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a", "old")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC if function == "fsync" else errno.EIO, "not now")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(UnisonError, match="disk is full" if function == "fsync" else "can't be written: not now"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnisonError, match="can't be written: File exists"):
        write_text(tmp_path / "file" / "a", "x")


def test_data_reaches_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(f"sync {os.readlink(f'/proc/self/fd/{fd}')}"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_text(tmp_path / "a", "x")
    assert len(calls) == 3
    assert calls[0].startswith(f"sync {tmp_path}/.a.")
    assert calls[1:] == ["replace", f"sync {tmp_path}"]


def test_a_folder_that_cannot_be_read_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").read_text() == "x"


KILLED = """
import sys
from pathlib import Path
from unison.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half"); file.flush()
    print("halfway", flush=True); sys.stdin.read()
"""


def test_what_a_killed_writer_left_goes_later(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"halfway\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "old"
    (leftover,) = [path for path in tmp_path.iterdir() if path.name != "a"]
    assert leftover.read_bytes() == b"half"
    write_text(tmp_path / "b", "x")  # a young one may have a writer
    assert leftover.exists()
    hours_ago = time.time() - 7200
    os.utime(leftover, (hours_ago, hours_ago))
    write_text(tmp_path / "c", "x")
    assert names(tmp_path) == ["a", "b", "c"]
