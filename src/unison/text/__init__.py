"""From text to the symbols that a model reads."""

from unison.text.frontend import Frontend, frontend
from unison.text.normalization import normalize
from unison.text.sentences import sentences

__all__ = ["Frontend", "frontend", "normalize", "sentences"]
