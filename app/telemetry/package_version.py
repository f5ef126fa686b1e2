"""The version of the installed package."""

from __future__ import annotations

from importlib import metadata


def package_version() -> str:
    """As pip knows it; "0" where the code runs without being installed."""
    try:
        return metadata.version("longtail")
    except metadata.PackageNotFoundError:
        return "0"
