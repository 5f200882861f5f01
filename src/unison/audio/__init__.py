"""Recordings and what is measured on them: reading, resampling, spectrograms, pitch, energy."""
