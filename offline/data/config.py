"""Settings of the data. Read by recipes, so nothing heavy is imported here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from model_store.repeats import Repeats


class DataConfig(BaseModel):
    """The table `[data]` of a recipe: which of the interactions are used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repeats: Repeats = Field(
        "keep",
        description="of interactions of a user with the same item: keep all; of a run of them, "
        "without another item in between, keep the first (runs); keep the first of all (first)",
    )
    event_types: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="types of interaction that are used, as the column event_type names them, such "
        'as ["purchase"]; the others are left out. Unset: all are used',
    )
    catalogue_only: bool = Field(
        False,
        description="leave out items that the catalogue lacks, with their interactions; they are "
        "recommended otherwise, without title and attributes",
    )


ALL_INTERACTIONS = DataConfig()
