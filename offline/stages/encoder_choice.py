"""The text encoder of a build: as it is, or tuned on the build's own behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from offline.fingerprint import hash_inputs


@dataclass(frozen=True)
class EncoderChoice:
    """A text encoder to read.

    Attributes:
        name: short name, Hugging Face id, or folder.
        inputs: fingerprints of the encoder's origin, where it is a folder.
    """

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def as_it_is(cls, name: str) -> Self:
        """The one that a recipe names."""
        return cls(name, {"encoder": hash_inputs([Path(name)])} if Path(name).is_dir() else {})
