"""What all pages have: one file, that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path


def document(title: str, parts: Iterable[str], script: str | None = None) -> str:
    """A whole page, in the style of the house."""
    script = f"<script>{_file(script)}</script>" if script else ""
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_file('page.css')}</style></head><body><main>",
            *(part for part in parts if part),
            f"</main>{script}</body></html>\n",
        ]
    )


def facts(rows: dict[str, str]) -> str:
    """Names and values, as they stand at the head of a page."""
    return f"<dl>{''.join(f'<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>' for a, b in rows.items())}</dl>"


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
