"""Figures as pages show them: four decimals, no zero in front."""

from __future__ import annotations


def number(value: float) -> str:
    """A figure in [0, 1], such as .1095."""
    return f"{value:.4f}".replace("0.", ".", 1)


def signed(value: float) -> str:
    """A difference, such as +.0102."""
    return f"{value:+.4f}".replace("0.", ".", 1)
