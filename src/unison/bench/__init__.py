"""``unison bench``: speed and memory of this machine."""
