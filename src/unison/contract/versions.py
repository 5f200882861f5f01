"""What wrote a checkpoint."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path


def versions() -> dict[str, str | bool | None]:
    """Versions of unison, torch, lightning and python; the source's git commit, and if its tree was clean.

    `git_commit` and `git_clean` are None where the source is not a git work tree.
    """
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", __file__) else None
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "unison": _version("unison-tts"),
        "torch": _version("torch"),
        "lightning": _version("lightning"),
        "python": platform.python_version(),
        "git_commit": commit,
        "git_clean": None if changes is None else not changes,
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """git's answer about the folder of this source, or None where it has none."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
