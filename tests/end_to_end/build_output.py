"""What a build prints."""

from __future__ import annotations


def without_warnings(lines: list[str]) -> list[str]:
    """A model of some thousand weights may be below a baseline, which every build says."""
    return [line for line in lines if not line.startswith("WARNING: sasrec is below ")]
