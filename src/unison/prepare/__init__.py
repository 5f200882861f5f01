"""From a corpus in its published layout to a manifest, cached features and statistics."""

from unison.prepare.runner import is_current, prepare, staleness

__all__ = ["is_current", "prepare", "staleness"]
