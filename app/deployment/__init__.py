"""Loads versions, follows the active one, and swaps models."""
