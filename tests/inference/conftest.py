from __future__ import annotations

import importlib
import logging
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Command, Outcome
from unison.inference.emotivoice import EmotiVoiceSynthesizer
from unison.inference.synthesizer import load
from unison.text import frontend

REPOSITORY = Path(__file__).resolve().parents[2]


Infer = Command


@pytest.fixture(scope="session")
def _loaded() -> None:
    """What every child needs, loaded once: the dictionary alone takes a fifth of a second."""
    frontend("english").symbols("one")
    importlib.import_module("unison.inference.run")


@pytest.fixture
def infer(tmp_path: Path, _loaded: None) -> Infer:
    """``infer("text=…", stdin="…")``: infer.py as a process of its own, in `tmp_path`.

    It is forked off this one, which has torch already: a fresh interpreter would take seconds to get it.
    """

    def run(*args: str, stdin: str | bytes | None = None, command: str = "infer.py") -> Outcome:
        given = tmp_path / "stdin"
        given.write_bytes(stdin.encode() if isinstance(stdin, str) else stdin or b"")
        streams = [given, tmp_path / "stdout", tmp_path / "stderr"]
        pid = os.fork()
        if not pid:
            os._exit(_child(command, args, streams, tmp_path))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out, err = (path.read_text(encoding="utf-8") for path in streams[1:])
        for path in streams:
            path.unlink()
        return Outcome(code, out, err)

    return run


def _child(command: str, args: tuple[str, ...], streams: list[Path], folder: Path) -> int:
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(i, mode, encoding="utf-8") for i, mode in enumerate("rww"))
    logging.root.handlers.clear()
    code = 0
    try:
        os.chdir(folder)
        sys.argv = [command, *args]
        if command == "infer.py":
            runpy.run_path(str(REPOSITORY / command), run_name="__main__")
        else:
            from unison.cli import main

            main([command, *args])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """``fresh("text=…")``: infer.py in a new interpreter, as a user starts it, in `tmp_path`."""

    def start(*args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(REPOSITORY / "infer.py"), *args],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # behind nohup or & it would be ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


@pytest.fixture(scope="session")
def voice(run_folder: Path) -> EmotiVoiceSynthesizer:
    """The tiny voice, in float32 on the CPU."""
    return load(run_folder, "cpu", "32-true")
