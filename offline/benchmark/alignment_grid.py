"""A grid that compares texts of items: none, their own, an LLM's before and after alignment.

kind = "alignment"
description = "Alignment on MovieLens-100K"
reference_texts = "movielens-1m-texts"
shown_items = ["1", "242"]
[[data]]
name = "movielens-100k"
"""

from __future__ import annotations

import itertools
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
        shares: of the users, whose sequences train a row; with several, each row is a learning
            curve (SeRALM's figure 7). The alignment learns from all users in any case.
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
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0,), min_length=1)
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
        """The rows as entries of a grid, backbone by backbone and share by share.

        Args:
            with_reference: the folder of reference texts is given.
        """
        rows = [row for row in self.rows if with_reference or row != Texts.REFERENCE]
        every = itertools.product(self.backbones, self.shares, rows)
        entries = [self.entry(backbone, row, share) for backbone, share, row in every]
        return Grid(
            description=self.description,
            reference=entry_name(self.backbones[0], Texts.BEFORE, self.shares[0]),
            parts=self.parts,
            seeds=self.seeds,
            data=self.data,
            entries=tuple(entries),
        )

    def row_of(self, entry: str) -> tuple[str, Texts]:
        """Backbone and row of an entry of the table, by its name."""
        every = itertools.product(self.backbones, self.rows, self.shares)
        return {entry_name(b, row, share): (b, row) for b, row, share in every}[entry]

    def check(self) -> None:
        """Check recipe and changes before any work.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        self.table(with_reference=True).check()

    def entry(self, backbone: str, row: Texts, share: float = 1.0) -> Entry:
        """What a row changes in the recipe."""
        recommender: dict[str, Any] = {"id_init": "random"}
        if backbone != "sasrec":  # recipes have it where they state none
            recommender["backbone"] = backbone
        changes: dict[str, dict[str, Any]] = {"recommender": recommender}
        if row == Texts.NONE:
            recommender["knowledge_beside_ids"] = False
        if row in (Texts.NONE, Texts.OWN):
            changes["knowledge"] = {"model": "none"}
        if share < 1:
            changes["training"] = {"share": share}
        return Entry(
            name=entry_name(backbone, row, share),
            recipe=self.recipe,
            changes=changes,
            against=entry_name(backbone, Texts.BEFORE, share),
            curve=entry_name(backbone, row) if len(self.shares) > 1 else "",
        )


def entry_name(backbone: str, row: Texts, share: float = 1.0) -> str:
    """A row's name in the table."""
    of_users = f", {share:.3g} of the users" if share < 1 else ""
    return f"{LABELS[backbone]}, {row.value}{of_users}"
