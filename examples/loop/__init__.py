"""A simulated shop whose clicks come back into the model."""
