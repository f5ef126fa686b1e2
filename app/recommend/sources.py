"""The sources of an answer's items: the model, knowledge of items (cold start), popularity.

A source ranks items for a plan, finds the best allowed ones, and explains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from app.model.arrays import NO_ITEMS, NO_SCORES, FloatArray, IndexArray
from app.model.model import Model
from app.model.ranking import EXCLUDED, Best, mask, top_k
from app.recommend.dislikes import move_away, shift_of
from app.recommend.plan import Plan
from app.recommend.query import ServedBy
from app.recommend.reasons import (
    explain_by_history,
    explain_by_means,
    explain_by_popularity,
    explain_by_similarity,
)
from app.recommend.rounding import six_digits
from model_store.manifest import Kind


class Source(Protocol):
    """Ranks items for users; stateless, since everything learnt is in the model."""

    name: ServedBy
    unit: float
    """Difference of two scores where one item weighs e times as much as the other."""

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray | None]:
        """Scores for each plan, from one inference; `best` can read them.

        None for a plan that this source can't answer after all.
        """

    def best(
        self,
        scores: FloatArray,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        model: Model,
    ) -> Best:
        """The k best allowed items, best first, ties to the lower index; may change `scores`.

        Args:
            scores: as `score` gave them.
            k: at least 1.
            excluded: item_indices in any order.
            allowed: sorted item_indices; None means all.
        """

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """The reasons for the chosen items, [K] with their scores [K]."""


class ModelSource:
    """The sequence model, for users with a history of known items.

    Scores are [N+1] of all items or, where a retriever finds the best of them, the user's
    vector [D].
    """

    name: ServedBy = "model"
    unit = 1.0  # scores are the logits of a softmax over the items

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray | None]:
        """See `Source.score`; None where a user's vector has no usable number."""
        histories = [plan.history.items for plan in plans]
        if model.retriever:
            users = model.sequence.user_vectors(histories)
            found: Sequence[FloatArray | None]
            found = [user if np.isfinite(user).all() else None for user in users]
        else:
            found = model.sequence.scores(histories)
        return move_away(found, plans, model) if model.events.dislike_weight else found

    def best(
        self,
        scores: FloatArray,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        model: Model,
    ) -> Best:
        """See `Source.best`."""
        if model.retriever:
            withdrawn = model.availability.withdrawn
            return model.retriever.best(scores, k, excluded, allowed, withdrawn)
        return _best_of_all(scores, k, excluded, allowed, model)

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """See `Source.explain`."""
        shift = shift_of(plan, model)
        if shift is None:
            return explain_by_history(model, plan.history.items, items, scores)
        parts = model.table[items] @ shift
        explanations = explain_by_history(model, plan.history.items, items, scores - parts)
        for explanation, part in zip(explanations, six_digits(parts.tolist()), strict=True):
            explanation["dislikes"] = part
        return explanations


class DirectSource(ModelSource):
    """A direct model, which folds a user in from the items of the history; scores as above."""

    name: ServedBy = "direct"
    unit = 1.0  # scores are as large as the logits by which BPR compares two items


class _SourceOfAll:
    """A source with a score of every item."""

    def best(
        self,
        scores: FloatArray,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        model: Model,
    ) -> Best:
        """See `Source.best`."""
        return _best_of_all(scores, k, excluded, allowed, model)


class ColdStartSource(_SourceOfAll):
    """Items similar to the interests of a user without a usable history; scores are [N+1]."""

    name: ServedBy = "cold_start"
    unit = 0.1  # similarities are read as a softmax at this temperature

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray | None]:
        """See `Source.score`; None where the text has no known word."""
        if model.knowledge is None:
            return [None] * len(plans)
        return model.knowledge.similarities([plan.query.interests or "" for plan in plans])

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """See `Source.explain`."""
        return explain_by_similarity(scores)


class PopularSource:
    """The most popular items, which are the same for all and need no scores."""

    name: ServedBy = "popular"
    unit = 0.0  # counts are weights, and no logits: `Effect.popularity` multiplies them

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray]:
        """See `Source.score`."""
        return [NO_SCORES] * len(plans)

    def best(
        self,
        scores: FloatArray,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        model: Model,
    ) -> Best:
        """See `Source.best`."""
        return model.popularity.best(k, excluded, allowed, model.availability.withdrawn)

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """See `Source.explain`."""
        return explain_by_popularity(model, scores)


class RatingSource(_SourceOfAll):
    """Predicted ratings, not clipped: items above the scale would tie.

    Scores are [N+1], -inf for items that are not ranked.

    Of a large catalogue the most popular allowed items are ranked, as many as the version says.
    """

    name: ServedBy = "rating"
    unit = 1.0  # scores are ratings: one more is taken to weigh e times as much

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray | None]:
        """See `Source.score`; None for a user of whom nothing is known."""
        return [_rated(plan, model) for plan in plans]

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """See `Source.explain`."""
        return explain_by_means(model, plan.query.user_id, items)


def _rated(plan: Plan, model: Model) -> FloatArray | None:
    """Ratings [N+1] of the items that a plan may be answered with, as many as are ranked."""
    rating = model.rating
    if rating is None:
        return None
    given = NO_ITEMS if plan.query.history is None else plan.history.items
    row = rating.user_row(plan.query.user_id, given)
    if row is None:
        row = rating.user_row(None, plan.history.items)
    if row is None:
        return None
    items = model.popularity.order if plan.allowed is None else plan.allowed
    if len(items) > rating.info.max_ranked:
        leave_out = plan.excluded, plan.history.items
        items, _ = model.popularity.best(
            rating.info.max_ranked,
            np.concatenate(leave_out),
            plan.allowed,
            model.availability.withdrawn,
        )
        if plan.rules is not None:  # a pinned item has its rank, however rare it is
            items = np.union1d(items, plan.rules.pinned_items)
    scores = np.full(len(model.table), EXCLUDED, np.float32)
    scores[items] = rating.predict(row, items)
    return scores


MODEL: Source = ModelSource()
DIRECT: Source = DirectSource()
RATING: Source = RatingSource()
COLD_START: Source = ColdStartSource()
POPULAR: Source = PopularSource()
_OF_KIND: dict[Kind, Source] = {"sequential": MODEL, "direct": DIRECT, "rating": RATING}


def choose_source(plan: Plan, model: Model) -> Source:
    """The source for a plan: the model needs a known item, cold start needs interests."""
    if len(plan.history.items):
        return _OF_KIND[model.kind]
    return POPULAR if plan.query.interests is None else COLD_START


def _best_of_all(
    scores: FloatArray, k: int, excluded: IndexArray, allowed: IndexArray | None, model: Model
) -> Best:
    mask(scores, excluded)
    if len(withdrawn := model.availability.withdrawn):
        mask(scores, withdrawn)
    items = top_k(scores, k, allowed)
    return items, scores[items]
