"""The revision of the code."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path


def code_revision() -> str:
    """The commit this runs from, with `-dirty` if files differ from it; else the version."""
    root = Path(__file__).parent.parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        return described.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return metadata.version("longtail")
