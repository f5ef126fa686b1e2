"""Settings of encoding: the text of an item, and the encoder; reading a recipe loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_ENCODER = "all-minilm-l6-v2"
NO_ENCODER = "none"

EncodedText = Literal["item", "knowledge", "item+knowledge"]


def missing_folder(encoder: str) -> bool:
    """Whether this is a folder's path, and no Hugging Face id, but the folder is missing."""
    is_path = encoder.startswith((".", "/", "~")) or encoder.count("/") > 1
    return is_path and not Path(encoder).is_dir()


class EncodingConfig(BaseModel):
    """Settings of the encoding stage; frozen, and unknown names are rejected."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field(
        default=DEFAULT_ENCODER,
        min_length=1,
        description="short name, Hugging Face id or folder; none: no text is encoded, and the "
        "bundle takes no fresh items and no interests",
    )
    text: EncodedText = Field(
        default="item+knowledge",
        description="text of an item that is encoded: its own, the knowledge, or both",
    )
    shuffled: bool = Field(
        default=False,
        description="a control: vectors shuffled between the items, so that each has "
        "another item's; for benchmarks, not for bundles",
    )
    batch_size: int = Field(default=16, ge=1, description="texts at a time")

    @property
    def encodes(self) -> bool:
        """Whether there is an encoder."""
        return self.encoder != NO_ENCODER
