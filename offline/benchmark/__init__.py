"""Runs a declared grid of trainings, resumably, and writes its tables."""
