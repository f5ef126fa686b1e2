"""A grid that compares texts of items: none, their own, an LLM's before and after alignment.

kind = "alignment"
description = "Alignment on MovieLens-100K"
reference_texts = "movielens-1m-texts"
shown_items = ["1", "242"]
[[data]]
name = "movielens-100k"
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from offline.alignment.config import AlignmentConfig
from offline.benchmark.grid import DataChoice, Entry, Grid

KIND = "alignment"
LABELS = {"sasrec": "SASRec", "lightsans": "LightSANs"}


class Texts(StrEnum):
    """Rows of the table: what stands for an item beside its id."""

    NONE = "ids"
    OWN = "titles only"
    BEFORE = "not aligned"
    RANDOM = "a random one of K texts"
    BEST = "the best of K texts"
    ALIGNED = "aligned"
    REFERENCE = "reference texts"


class AlignmentGrid(BaseModel):
    """The table of an alignment: each row is trained on every data set, with every seed.

    Attributes:
        recipe: of all rows, with ids that start as random numbers (SeRALM 4.3).
        backbones: networks, by their names in recipes.
        rows: those that are trained.
        reference_texts: name by which the folder of other descriptions is given with `--data`;
            without it, the row of reference texts is left out.
        alignment: settings of the alignment and of its pool of texts.
        shown_items: item_ids whose texts are shown; chosen before anybody has read any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["alignment"]
    description: str = Field(min_length=1)
    parts: tuple[Literal["validation", "test"], ...] = Field(("test", "validation"), min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((0, 1, 2), min_length=1)
    data: tuple[DataChoice, ...] = Field(min_length=1)
    recipe: str = "default"
    backbones: tuple[Literal["sasrec", "lightsans"], ...] = Field(
        ("sasrec", "lightsans"), min_length=1
    )
    rows: tuple[Texts, ...] = Field(tuple(Texts), min_length=2)
    reference_texts: str = ""
    alignment: AlignmentConfig = AlignmentConfig()
    shown_items: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _rows_can_be_made(self) -> Self:
        if Texts.BEFORE not in self.rows:
            raise ValueError(f"rows lack {Texts.BEFORE.value!r}, which gains are measured against")
        if Texts.REFERENCE in self.rows and not self.reference_texts:
            raise ValueError(f"row {Texts.REFERENCE.value!r} needs the name of reference_texts")
        if Texts.ALIGNED in self.rows and not self.alignment.steps:
            raise ValueError(f"row {Texts.ALIGNED.value!r} needs alignment.steps above 0")
        self.table(with_reference=True)
        return self

    def table(self, *, with_reference: bool) -> Grid:
        """The rows as entries of a grid, backbone by backbone.

        Args:
            with_reference: the folder of reference texts is given.
        """
        rows = [row for row in self.rows if with_reference or row != Texts.REFERENCE]
        entries = [self._entry(backbone, row) for backbone in self.backbones for row in rows]
        return Grid(
            description=self.description,
            reference=entry_name(self.backbones[0], Texts.BEFORE),
            parts=self.parts,
            seeds=self.seeds,
            data=self.data,
            entries=tuple(entries),
        )

    def row_of(self, entry: str) -> tuple[str, Texts]:
        """Backbone and row of an entry of the table, by its name."""
        named = {entry_name(b, row): (b, row) for b in self.backbones for row in self.rows}
        return named[entry]

    def check(self) -> None:
        """Check recipe and changes before any work.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        self.table(with_reference=True).check()

    def _entry(self, backbone: str, row: Texts) -> Entry:
        recommender: dict[str, Any] = {"id_init": "random"}
        if backbone != "sasrec":  # recipes have it where they state none
            recommender["backbone"] = backbone
        changes: dict[str, dict[str, Any]] = {"recommender": recommender}
        if row == Texts.NONE:
            recommender["knowledge_beside_ids"] = False
        if row in (Texts.NONE, Texts.OWN):
            changes["knowledge"] = {"model": "none"}
        return Entry(
            name=entry_name(backbone, row),
            recipe=self.recipe,
            changes=changes,
            against=entry_name(backbone, Texts.BEFORE),
        )


def entry_name(backbone: str, row: Texts) -> str:
    """A row's name in the table."""
    return f"{LABELS[backbone]}, {row.value}"
