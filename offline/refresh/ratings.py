"""A refresh of a version that predicts ratings: trained, compared by its errors, assembled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from offline.assembly import write_bundle
from offline.rating_build import complete, parts_of
from offline.recipe import Recipe
from offline.refresh.choices import Choices
from offline.refresh.non_inferiority import MIN_USERS, SQUARED_ERROR, Judgement, judge
from offline.refresh.running import Running
from offline.stages.completion import CompletionArtifact
from offline.stages.rating import RatingArtifact, RatingStage
from offline.stages.rating_comparison import RatingComparisonStage, RatingPairs
from offline.stages.ratings import RatingsArtifact
from offline.stages.refreshed_data import RefreshedDataArtifact
from offline.stages.refreshed_ratings import RefreshedRatingsStage
from offline.stages.stage import Log, run_stage
from offline.stages.start import StartArtifact

Document = dict[str, Any]


@dataclass(frozen=True)
class RefreshedRatings:
    """A new model of ratings, from the data to the bundle; each part is made when it is asked for.

    Attributes:
        data: old and new interactions.
        running: the version that answers.
        recipe: to train by.
        start: its weights; None: they are not there.
        choices: of the refresh.
        log: called with lines of progress.
    """

    data: RefreshedDataArtifact
    running: Running
    recipe: Recipe
    start: StartArtifact | None
    choices: Choices
    log: Log

    @cached_property
    def _make(self) -> Any:
        return partial(run_stage, root=self.choices.root, log=self.log)

    @cached_property
    def _completed(self) -> CompletionArtifact | None:
        return complete(self.data, self.recipe, self._make)

    @cached_property
    def _ratings(self) -> RatingsArtifact:
        found: RatingsArtifact = self._make(RefreshedRatingsStage(self.data, self._completed))
        return found

    @cached_property
    def _fitted(self) -> RatingArtifact:
        stage = RatingStage(self.data, self._ratings, self.recipe.rating, self.start)
        found: RatingArtifact = self._make(stage)
        return found

    def reason_to_stop(self) -> str | None:
        """Why nothing can be told from these data, before anything is trained; None: it can."""
        if not self.data.facts["new_interactions"]:
            return "there are no new events"
        split = self._ratings.split()
        n_users = len(np.intersect1d(split.test.users, split.train.users))
        if n_users < MIN_USERS:
            return (
                f"{n_users} users with earlier ratings have some in the newest slice of "
                f"{self.data.facts['new_interactions']:,} new events, and {MIN_USERS} are needed "
                "to tell"
            )
        if not len(split.validation):
            return "no new rating before the newest slice can choose the epoch"
        return None

    def describe_training(self) -> Document:
        """For the report."""
        facts = self._fitted.facts
        start = f"the weights of {self.running.version}"
        if self.start is None:
            start = "random weights: the running version's were not found in the build's folder"
        elif not facts["began_warm"]:
            start = "random weights: the items have other attributes than the running version's"
        return {"start": start, "best_epoch": facts["best_epoch"], "r2": facts["r2"]}

    def compare(self) -> tuple[bool, str, Document]:
        """Whether the new model is published, why, and the comparison for the report."""
        stage = RatingComparisonStage(self.data, self._ratings, self._fitted, self.running.bundle)
        compared = self._make(stage)
        pairs: RatingPairs = compared.pairs()
        everything, known = self._judge(pairs), self._judge(pairs.known())
        passes, reason = everything.passes, f"{everything.word}: {everything.reason}"
        if passes and known.word == "worse":
            # New items must not hide that the others are predicted worse.
            passes = False
            reason = f"worse on items that the running model knows: {known.reason}"
        return passes, reason, {
            "evidence": "ratings",
            "why": "both versions predicted the newest ratings",
            "reason": reason,
            "all": everything.to_document(),
            "known": known.to_document(),
            "unknown_targets": compared.facts["unknown_targets"],
        }  # fmt: skip

    def _judge(self, pairs: RatingPairs) -> Judgement:
        choices = self.choices
        return judge(
            *(pairs.users, pairs.candidate, pairs.running),
            margin=choices.margin,
            confidence=choices.confidence,
            measure=SQUARED_ERROR,
        )

    def assemble(self, split: str) -> tuple[Path, RatingArtifact]:
        """Train again on everything, and write the bundle: its folder, and the model.

        Args:
            split: name of the split.
        """
        fitted = (self._completed, self._ratings, self._fitted)
        parts = parts_of(
            *(self.data, self.recipe, fitted, self._make),
            split=split,
            refit=True,
            start=self.start,
        )
        configuration = {
            "recipe": self.recipe.described(),
            "item_kind": self.running.item_kind,
            "split": split,
            "refit": True,
        }
        root = self.choices.root
        return write_bundle(root / "bundle", parts, configuration, self.log), parts.rating
