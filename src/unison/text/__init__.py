"""From text to the symbols that a model reads."""

from unison.text.frontend import Frontend, frontend
from unison.text.lexicon import Lexicon
from unison.text.markup import parse
from unison.text.normalization import normalize
from unison.text.reading import Reading
from unison.text.sentences import sentences

__all__ = ["Frontend", "Lexicon", "Reading", "frontend", "normalize", "parse", "sentences"]
