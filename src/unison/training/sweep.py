"""The table at a sweep's end: every job's overrides and final metrics."""

from __future__ import annotations

import csv
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from unison.training.folders import swept_keys

DONE = "done"


class SweepTable(Callback):
    """Collects what each job returned in the sweep's ``sweep.csv``, after every job; prints the table at the end.

    A job that fails is a row that says so, and the others run; the process then exits with 2.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.path: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Give all jobs one name, for one folder; note what differs between them."""
        overrides = config.hydra.overrides.task
        if not any(override.startswith("name=") for override in overrides):
            with read_write(config):
                overrides.append(f"name='{config.name}'")
        self.keys = swept_keys([str(override) for override in overrides])
        self.path = _unused(Path(config.hydra.sweep.dir) / "sweep.csv")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Write down one job's overrides and metrics; a run alone has no table."""
        if self.path is None:
            return
        given = dict(override.split("=", 1) for override in job_return.overrides or [])
        row: dict[str, Any] = {key: value for key, value in given.items() if key in self.keys}
        if job_return.status == JobStatus.COMPLETED:
            row |= {"status": DONE} | (job_return.return_value or {})
        else:
            # Hydra would raise it after the last job, instead of the table
            error = job_return._return_value
            traceback.print_exception(error)
            row["status"] = f"failed: {type(error).__name__}: {error}"
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns())
            writer.writeheader()
            writer.writerows(self.rows)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table."""
        if not self.rows:
            return
        print(format_table(self._columns(), self.rows))
        print(self.path)
        if any(row["status"] != DONE for row in self.rows):
            sys.exit(2)

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows for column in row))


def _unused(path: Path) -> Path:
    """The path, or with the next free number: a second grid's table does not take the first one's place."""
    number = 2
    while path.exists():
        path = path.with_name(f"sweep-{number}.csv")
        number += 1
    return path


def format_table(columns: list[str], rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    shown = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in shown)) for i, column in enumerate(columns)]
    lines = [columns, ["-" * width for width in widths], *shown]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
