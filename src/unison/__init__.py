"""Unison: text-to-speech training and inference that cannot fall out of step."""

__version__ = "0.1.0"
