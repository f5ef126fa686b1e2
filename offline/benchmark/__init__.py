"""A declared grid of trainings, run resumably, and the tables that come of it."""
