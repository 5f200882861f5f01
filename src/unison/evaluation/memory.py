"""The most memory that was in use from some moment on."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


class PeakMemory:
    """Of tensors on a GPU, otherwise of the whole process; counted from here on where the system can do that."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.of = "GPU" if device.type == "cuda" else "process"
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        # Linux: from now on the peak is counted anew, without what reading the checkpoint took
        with contextlib.suppress(OSError):
            (_PROCESS / "clear_refs").write_text("5")

    def peak(self) -> int:
        """Bytes."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        try:
            status = (_PROCESS / "status").read_text()
        except OSError:
            status = ""
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE):
            return int(found[1]) * 1024
        # kilobytes, but for macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
