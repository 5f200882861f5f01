"""What the user sees when something does not fit."""

from __future__ import annotations

from collections.abc import Sequence


class UnisonError(Exception):
    """Problems with what the user gave: each says what was found, what was expected and what to do.

    The commands print the problems and exit with 2; no traceback is shown.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def some(names: Sequence[str], most: int = 10) -> str:
    """The first `most` names and how many more there are, for a message that need not list them all."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
