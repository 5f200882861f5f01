"""Figures on what was spoken: distances to recordings, and reports of them."""
