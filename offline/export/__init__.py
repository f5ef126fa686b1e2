"""Exports a trained model to files that a service runs without torch, checked against torch."""
