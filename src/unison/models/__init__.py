"""Speech models in plain torch: no configuration framework and no training framework below this line."""
