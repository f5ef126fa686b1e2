"""Settings of an export. Read by recipes, so nothing heavy is imported here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RetrievalConfig(BaseModel):
    """How the service finds the best items."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exact_up_to: int = Field(
        100_000,
        ge=1_000,
        description="items up to which all are scored; a larger catalogue gets an index",
    )
