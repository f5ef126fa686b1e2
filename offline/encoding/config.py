"""What to encode of an item, and with which encoder; reading a recipe loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_ENCODER = "all-minilm-l6-v2"

EncodedText = Literal["item", "knowledge", "item+knowledge"]


def missing_folder(encoder: str) -> bool:
    """Whether this can only be a folder's path, no Hugging Face id, and there is no such folder."""
    is_path = encoder.startswith((".", "/", "~")) or encoder.count("/") > 1
    return is_path and not Path(encoder).is_dir()


class EncodingConfig(BaseModel):
    """Settings of the encoding stage; frozen, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = Field(
        default=DEFAULT_ENCODER, min_length=1, description="short name, Hugging Face id or folder"
    )
    text: EncodedText = Field(
        default="item+knowledge",
        description="what is encoded of an item: its own text, the knowledge, or both",
    )
    shuffled: bool = Field(
        default=False,
        description="a control: vectors dealt out among the items by chance, so that each has "
        "another's; a benchmark may have it, a bundle not",
    )
    batch_size: int = Field(default=16, ge=1, description="texts at a time")
