"""The effect of an experiment's arms on clicks per exposure."""
