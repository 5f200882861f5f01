"""Training: the Lightning modules, their callbacks, and the run that joins them."""
