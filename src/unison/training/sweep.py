"""The table at a sweep's end: every job's overrides and final metrics."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """Collects what each job returned; prints the table and writes ``sweep.csv`` in the sweep's folder."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Remember one job's overrides and metrics."""
        row: dict[str, Any] = {}
        for override in job_return.overrides or []:
            key, _, value = override.partition("=")
            row[key] = value
        if job_return.status == JobStatus.COMPLETED and isinstance(job_return.return_value, dict):
            row |= {"status": "done", **job_return.return_value}
        else:
            row["status"] = f"failed: {job_return._return_value}"
        self.rows.append(row)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write and print the table."""
        if not self.rows:
            return
        columns = list(dict.fromkeys(column for row in self.rows for column in row))
        path = Path(HydraConfig.instance().cfg.hydra.sweep.dir if HydraConfig.initialized() else config.hydra.sweep.dir)
        path.mkdir(parents=True, exist_ok=True)
        with (path / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        print(format_table(columns, self.rows))
        print(path / "sweep.csv")


def format_table(columns: list[str], rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    shown = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in shown)) for i, column in enumerate(columns)]
    lines = [columns, ["-" * width for width in widths], *shown]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
