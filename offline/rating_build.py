"""The stages of a bundle of kind rating, and its assembly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_store import bundle as files
from model_store.event_rules import DEFAULT_EVENTS
from model_store.held_out import HELD_OUT_FILES
from model_store.rating_arrays import RATING_FILES
from offline.learning import Make
from offline.recipe import Recipe
from offline.revision import code_revision
from offline.stages.completion import CompletionArtifact, CompletionStage
from offline.stages.data import DataArtifact
from offline.stages.rating import RatingArtifact, RatingStage
from offline.stages.rating_evaluation import RatingEvaluationArtifact, RatingEvaluationStage
from offline.stages.rating_export import RatingExportArtifact, RatingExportStage
from offline.stages.rating_refit import RatingRefitStage
from offline.stages.ratings import RatingsArtifact, RatingSplitName, RatingsStage
from offline.stages.start import StartArtifact


@dataclass(frozen=True)
class RatingParts:
    """The artifacts of a rating bundle; `rating` is the exported one."""

    data: DataArtifact
    ratings: RatingsArtifact
    rating: RatingArtifact
    evaluation: RatingEvaluationArtifact
    exported: RatingExportArtifact

    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each part, for the manifest."""
        return {part.name: part.fingerprint for part in self.__dict__.values()}

    def files(self) -> dict[str, Path]:
        """The source of each file of the bundle, by its name there."""
        data, exported = self.data, self.exported
        return {
            files.MODEL: exported.path(exported.MODEL),
            files.ITEM_TABLE: exported.path(exported.ITEM_TABLE),
            **{name: exported.path(name) for name in RATING_FILES},
            files.GOLDEN: exported.path(exported.GOLDEN),
            files.ITEM_IDS: data.path(data.ITEM_IDS),
            files.ATTRIBUTES: data.path(data.ATTRIBUTES),
            files.USER_IDS: data.path(data.USER_IDS),
            files.USER_OFFSETS: data.path(data.OFFSETS),
            files.USER_ITEMS: data.path(data.ITEMS),
            files.USER_TIMESTAMPS: data.path(data.TIMESTAMPS),
            files.POPULARITY: self.rating.path(self.rating.POPULARITY),
            files.REPORT: self.evaluation.path(self.evaluation.REPORT),
            **dict(zip(HELD_OUT_FILES, self.ratings.test_files(), strict=True)),
        }

    def describe(self, configuration: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the manifest."""
        repeats = configuration["recipe"]["data"]["repeats"]
        model = self.exported.model_info().model_copy(update={"repeats": repeats})
        test = self.evaluation.report()["models"][model.name]["test"]["all"]
        return {
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "kind": "rating",
            "model": model,
            "encoder": None,
            "events": DEFAULT_EVENTS,
            "n_items": self.data.n_items,
            "n_users": int(self.data.facts["users"]),
            "metrics": {name: test[name] for name in ("rmse", "mae")},
            "inputs": self.fingerprints(),
            "configuration": dict(configuration),
            "code_revision": code_revision(),
        }


def make_parts(
    data: DataArtifact, recipe: Recipe, split: RatingSplitName, make: Make, *, refit: bool
) -> RatingParts:
    """Run the stages after the data.

    Args:
        data: the data set.
        recipe: of kind rating.
        split: how ratings are held out.
        make: runs each stage.
        refit: export the model that is trained on the held-out ratings too.

    Raises:
        InputError: there are no ratings to learn from, or the loss diverged.
        ParityError: the exported model answers differently.
    """
    completed = complete(data, recipe, make)
    ratings = make(RatingsStage(data, split, recipe.rating.seed, completed))
    chosen = make(RatingStage(data, ratings, recipe.rating))
    return parts_of(data, recipe, (completed, ratings, chosen), make, split=split, refit=refit)


def complete(data: DataArtifact, recipe: Recipe, make: Make) -> CompletionArtifact | None:
    """Attributes as a language model completed them; None where the recipe doesn't ask for that."""
    return make(CompletionStage(data, recipe.completion)) if recipe.completes else None


def parts_of(
    data: DataArtifact,
    recipe: Recipe,
    fitted: tuple[CompletionArtifact | None, RatingsArtifact, RatingArtifact],
    make: Make,
    *,
    split: str,
    refit: bool,
    start: StartArtifact | None = None,
) -> RatingParts:
    """Measure a fitted network, and export it or, with `refit`, what is trained on everything.

    Args:
        data: the data set.
        recipe: of kind rating.
        fitted: completed attributes if any, the ratings, and the network.
        make: runs each stage.
        split: name of the split, for the report.
        refit: export the model that is trained on the held-out ratings too.
        start: model that the trainings begin with; None: random weights.

    Raises:
        ParityError: the exported model answers differently.
    """
    completed, ratings, chosen = fitted
    notes = {"recipe": recipe.described(), "code_revision": code_revision()}
    if completed is not None:
        notes["completion"] = completed.report()
    evaluation = make(RatingEvaluationStage(data, ratings, chosen, split, notes))
    served = make(RatingRefitStage(data, ratings, chosen, start)) if refit else chosen
    exported = make(RatingExportStage(data, served, recipe.rating.max_ranked))
    return RatingParts(data, ratings, served, evaluation, exported)
