"""A grid declares recipes, data sets and seeds to compare, in one small TOML file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_store.errors import ConfigError
from model_store.event_rules import EventRules
from offline.config_file import config_names, describe_first, read_config_file
from offline.data.config import DataConfig
from offline.encoding.config import missing_folder
from offline.recipe import Recipe, read_recipe

GRIDS = Path(__file__).parent / "grids"
_Tables = dict[str, dict[str, Any]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataChoice(_Part):
    """A data set, and changes of every recipe for it.

    Attributes:
        name: of a data set that is downloaded, or whose folder the caller gives.
        changes: by table of the recipe, its keys.
    """

    name: str = Field(min_length=1)
    changes: _Tables = {}


class Entry(_Part):
    """A line of the table: a recipe and its changes.

    Attributes:
        name: as the table shows it.
        recipe: a recipe's name or the path of a file.
        changes: by table of the recipe, its keys; they win over the data set's.
        on: changes for single data sets, by their names; they win over all others.
        against: the entry that this one's gain is measured against; empty, the grid's reference.
        curve: the learning curve that this is a point of, at its share of the users; empty, none.
        data: data sets it is run on; empty, all.
    """

    name: str = Field(min_length=1)
    recipe: str = "default"
    changes: _Tables = {}
    on: dict[str, _Tables] = {}
    against: str = ""
    curve: str = ""
    data: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as a folder's."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


class Grid(_Part):
    """A grid: every entry is run on every data set, with every seed."""

    description: str = Field(min_length=1)
    reference: str = Field(min_length=1, description="the entry that gains are measured against")
    parts: tuple[Literal["validation", "test"], ...] = Field(
        ("test", "validation"), min_length=1, description="choices are made on validation alone"
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((0, 1, 2), min_length=1)
    at: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        (), description="cut-offs k that the page has a table of, besides 10"
    )
    data: tuple[DataChoice, ...] = Field(min_length=1)
    entries: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        check_names(self.entries, self.data, self.seeds)
        entries = {entry.name for entry in self.entries}
        data = {choice.name for choice in self.data}
        for entry in self.entries:
            if entry.against and entry.against not in entries:
                raise ValueError(f"entry {entry.name!r} is against {entry.against!r}, not an entry")
        if self.reference not in entries:
            raise ValueError(f"reference {self.reference!r} is not an entry")
        if idle := next((name for name in sorted(data) if not self.entries_on(name)), None):
            raise ValueError(f"data set {idle!r} has no entry that is run on it")
        return self

    def entries_on(self, data: str) -> tuple[Entry, ...]:
        """The entries that are run on a data set of the grid, in their order; one at least."""
        return tuple(entry for entry in self.entries if not entry.data or data in entry.data)

    def check(self) -> None:
        """Check every recipe and curve before any work.

        Raises:
            ConfigError: there is no such recipe, a change doesn't fit one, an encoder's folder
                isn't there, two entries of a curve have one share, or two of a data set differ in
                the interactions that they use.
        """
        for data in self.data:
            for entry in self.entries_on(data.name):
                recipe = self.recipe_of(data, entry, self.seeds[0])
                for encoder in (recipe.encoding.encoder, recipe.behaviour.start):
                    if encoder and missing_folder(encoder):
                        raise ConfigError(
                            f"entry {entry.name!r} on {data.name}: encoder {encoder!r}: there is "
                            f"no such folder in {Path.cwd()}"
                        )
                choices = self.data_choices_on(data)
                for table, chosen in zip(("data", "events"), choices, strict=True):
                    if getattr(recipe, table) != chosen:
                        raise ConfigError(
                            f"entry {entry.name!r} on {data.name}: {table}: differs from that of "
                            "the entries before it, and all are compared on the same interactions"
                        )
            self.curves_on(data)

    def data_choices_on(self, data: DataChoice) -> tuple[DataConfig, EventRules]:
        """Which interactions of a data set are used, and how: one choice for all entries on it.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        recipe = self.recipe_of(data, self.entries_on(data.name)[0], self.seeds[0])
        return recipe.data, recipe.events

    def curves_on(self, data: DataChoice) -> dict[str, dict[float, str]]:
        """Learning curves on a data set: names of entries by the share of users that train.

        Raises:
            ConfigError: two entries of a curve have one share, or a recipe doesn't fit.
        """
        curves: dict[str, dict[float, str]] = {}
        for entry in self.entries_on(data.name):
            if not entry.curve:
                continue
            points = curves.setdefault(entry.curve, {})
            share = self.recipe_of(data, entry, self.seeds[0]).training.share
            if share in points:
                raise ConfigError(
                    f"entries {points[share]!r} and {entry.name!r} on {data.name}: both are curve "
                    f"{entry.curve!r} at training.share = {share}"
                )
            points[share] = entry.name
        return {curve: dict(sorted(points.items())) for curve, points in curves.items()}

    def recipe_of(self, data: DataChoice, entry: Entry, seed: int) -> Recipe:
        """An entry's recipe on a data set.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        return recipe_on(data, entry, seed)


def check_names(entries: Sequence[Entry], data: Sequence[DataChoice], seeds: Sequence[int]) -> None:
    """Check that a grid names nothing twice, and no data set that it doesn't have.

    Raises:
        ValueError: it does.
    """
    for kind, names in (
        ("entry", [entry.slug for entry in entries]),
        ("data set", [choice.name for choice in data]),
        ("seed", [str(seed) for seed in seeds]),
    ):
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{kind} {twice!r} is given twice")
    known = {choice.name for choice in data}
    for entry in entries:
        if unknown := sorted({*entry.data, *entry.on} - known):
            raise ValueError(f"entry {entry.name!r} names data {unknown[0]!r}, not in the grid")


def recipe_on(data: DataChoice, entry: Entry, seed: int) -> Recipe:
    """An entry's recipe on a data set: the data set's changes, then the entry's.

    Raises:
        ConfigError: there is no such recipe, or a change doesn't fit it.
    """
    recipe = read_recipe(entry.recipe)
    changes = (data.changes, entry.changes, entry.on.get(data.name, {}))
    try:
        for tables in (*changes, {recipe.seed_table: {"seed": seed}}):
            recipe = recipe.with_changes(**tables)
    except ValidationError as error:
        raise ConfigError(f"entry {entry.name!r} on {data.name}: {describe_first(error)}") from None
    return recipe


def read_grid(name: str) -> Grid:
    """A grid by its name, or from a `.toml` file.

    Raises:
        ConfigError: there is no such grid, or something in it is wrong.
    """
    return read_config_file("grid", Grid, name, GRIDS)


def grid_names() -> list[str]:
    """The bundled grids."""
    return config_names(GRIDS)
