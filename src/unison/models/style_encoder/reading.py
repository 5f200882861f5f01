"""A prompt as an encoder reads it; needs no torch."""

from __future__ import annotations

import unicodedata


def folded(text: str) -> str:
    """One form of full and half width, no upper case, single spaces; half a surrogate pair is U+FFFD."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(unicodedata.normalize("NFKC", whole).casefold().split())
