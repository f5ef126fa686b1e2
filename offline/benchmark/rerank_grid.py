"""A grid that compares ways to rerank: one recipe, one language model, the rows of the paper.

kind = "reranking"
description = "Reranking on MovieLens-100K"
[[data]]
name = "movielens-100k"
[language_model]
adapter = "builds/adapter"
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_store.errors import ConfigError
from model_store.rerank_prompt import PromptLayout
from offline.benchmark.grid import DataChoice
from offline.config_file import describe_first
from offline.instruction.scorer_choice import ScorerChoice
from offline.recipe import Recipe, read_recipe

KIND = "reranking"
WITHOUT_SIMILAR = "without similar user"
WITHOUT_PREDICTION = "without prediction"
WITHOUT_BOTH = "without similar user and prediction"


class RerankGrid(BaseModel):
    """The table of a reranker: each row is computed on every data set, with every seed.

    Attributes:
        recipe: of the base recommender.
        language_model: reranks, and picks items for augmentation.
        layout: of the prompts, with all their parts; rows leave some out. A grid from a file that
            doesn't state it has that of the adapter.
        calibrated: whether each label's mean log-probability is subtracted.
        augmentation: keys of the recipe's table [augmentation], for the rows with augmented data;
            with share 0 there are none.
        users: validation and test cases of so many users, drawn at random, are measured; None: all.
        tuned_with_part_dropout: whether the adapter was tuned on prompts of which parts were left
            out at random, so that those of the rows "without …" are not new to it; the page says
            so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["reranking"]
    description: str = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31 - 1)], ...] = Field((0, 1, 2), min_length=1)
    data: tuple[DataChoice, ...] = Field(min_length=1)
    recipe: str = "default"
    language_model: ScorerChoice = ScorerChoice()
    layout: PromptLayout = PromptLayout()
    calibrated: bool = True
    augmentation: dict[str, Any] = {"share": 0.2}
    users: Annotated[int, Field(ge=1)] | None = None
    tuned_with_part_dropout: bool = False

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        for kind, names in (
            ("data set", [data.name for data in self.data]),
            ("seed", [str(seed) for seed in self.seeds]),
        ):
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{kind} {twice!r} is given twice")
        return self

    def with_tuned_layout(self) -> Self:
        """The grid with the adapter's layout, where it states none itself.

        Raises:
            ConfigError: the adapter's layout can't be read.
        """
        layout = self.language_model.tuned_layout
        if layout is None or "layout" in self.model_fields_set:
            return self
        return self.model_copy(update={"layout": layout})

    def check(self) -> None:
        """Check recipe, model and changes before any work.

        Raises:
            ConfigError: there is no such recipe or folder, or a change doesn't fit.
        """
        self.language_model.check()
        for data in self.data:
            self.augmented_recipe(data, self.seeds[0])

    @property
    def has_augmented_rows(self) -> bool:
        """Whether there are rows with augmented data."""
        return self.augmented_recipe(self.data[0], self.seeds[0]).augments

    def recipe_of(self, data: DataChoice, seed: int) -> Recipe:
        """The base recommender's recipe on a data set.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        return _changed(read_recipe(self.recipe), data, data.changes, {"training": {"seed": seed}})

    def augmented_recipe(self, data: DataChoice, seed: int) -> Recipe:
        """The same with augmented training sequences.

        Raises:
            ConfigError: there is no such recipe, or a change doesn't fit it.
        """
        augmentation = {**self.language_model.model_dump(), **self.augmentation}
        return _changed(self.recipe_of(data, seed), data, {"augmentation": augmentation})

    @property
    def layouts(self) -> dict[str, PromptLayout]:
        """Layouts of the rows, by the part that is left out; "" is the whole one."""
        similar, prediction = {"n_similar": 0}, {"shows_prediction": False}
        changes: dict[str, dict[str, Any]] = {"": {}}
        if self.layout.n_similar:
            changes[WITHOUT_SIMILAR] = similar
        if self.layout.shows_prediction:
            changes[WITHOUT_PREDICTION] = prediction
        if len(changes) == 3:
            changes[WITHOUT_BOTH] = similar | prediction
        return {name: self.layout.model_copy(update=change) for name, change in changes.items()}


def _changed(recipe: Recipe, data: DataChoice, *changes: dict[str, dict[str, Any]]) -> Recipe:
    try:
        for tables in changes:
            recipe = recipe.with_changes(**tables)
    except ValidationError as error:
        raise ConfigError(f"data {data.name!r}: {describe_first(error)}") from None
    return recipe
