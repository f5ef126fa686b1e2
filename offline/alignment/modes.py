"""What gives the experiences, by the mode of the settings."""

from __future__ import annotations

from pathlib import Path

from model_store.errors import ConfigError
from offline.alignment.inputs import AlignmentInputs
from offline.alignment.run import OpenSource, synchronous


def source_of(inputs: AlignmentInputs, folder: Path) -> OpenSource:  # noqa: ARG001
    """The source of a mode.

    Args:
        inputs: of the alignment.
        folder: for what lies between processes.

    Raises:
        ConfigError: the mode isn't there.
    """
    mode = inputs.settings.alignment.mode
    if mode != "synchronous":
        raise ConfigError(f'alignment.mode = "{mode}": only "synchronous" is there yet')
    return synchronous
