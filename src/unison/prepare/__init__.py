"""From a corpus in its published layout to a manifest, cached features and statistics."""

from unison.prepare.runner import prepare
from unison.prepare.sources import staleness

__all__ = ["prepare", "staleness"]
