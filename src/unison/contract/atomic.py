"""Where `replacing` is imported from by `unison.training.callbacks`."""

from unison.files import replacing

__all__ = ["replacing"]
