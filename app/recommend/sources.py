"""Where an answer's items come from: the model, what is known of items, or what most people take.

A source ranks items for a plan, finds the best that are allowed, and says why they are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from app.model.arrays import NO_SCORES, FloatArray, IndexArray
from app.model.model import Model
from app.model.ranking import Best, mask, top_k
from app.recommend.plan import Plan
from app.recommend.query import ServedBy
from app.recommend.reasons import (
    explain_by_history,
    explain_by_popularity,
    explain_by_similarity,
)


class Source(Protocol):
    """Ranks items for people; stateless, as everything that is learnt is the model's."""

    name: ServedBy

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray | None]:
        """What each plan's items are ranked by, from one inference; `best` knows how to read it.

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
        """Why each of the chosen items, [K] with their scores [K], is in the answer."""


class ModelSource:
    """The sequence model, for whoever has a history of known items.

    Scores are [N+1] of all items or, where a retriever finds the best of them, the user's
    vector [D].
    """

    name: ServedBy = "model"

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray | None]:
        """See `Source.score`; None where a user's vector has no usable number."""
        histories = [plan.history.items for plan in plans]
        if model.retriever:
            users = model.sequence.user_vectors(histories)
            return [user if np.isfinite(user).all() else None for user in users]
        return model.sequence.scores(histories)

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
            return model.retriever.best(scores, k, excluded, allowed)
        return _best_of_all(scores, k, excluded, allowed)

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """See `Source.explain`."""
        return explain_by_history(model, plan.history.items, items, scores)


class ColdStartSource:
    """Items near what a person without a usable history says about interests; scores are [N+1]."""

    name: ServedBy = "cold_start"

    def score(self, plans: Sequence[Plan], model: Model) -> Sequence[FloatArray | None]:
        """See `Source.score`; None where there is nothing in the text to rank by."""
        if model.knowledge is None:
            return [None] * len(plans)
        return model.knowledge.similarities([plan.query.interests or "" for plan in plans])

    def best(
        self,
        scores: FloatArray,
        k: int,
        excluded: IndexArray,
        allowed: IndexArray | None,
        model: Model,
    ) -> Best:
        """See `Source.best`."""
        return _best_of_all(scores, k, excluded, allowed)

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """See `Source.explain`."""
        return explain_by_similarity(scores)


class PopularSource:
    """What most people take, which is the same for all and needs no scores."""

    name: ServedBy = "popular"

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
        return model.popularity.best(k, excluded, allowed)

    def explain(
        self, plan: Plan, items: IndexArray, scores: FloatArray, model: Model
    ) -> list[dict[str, Any]]:
        """See `Source.explain`."""
        return explain_by_popularity(model, scores)


MODEL: Source = ModelSource()
COLD_START: Source = ColdStartSource()
POPULAR: Source = PopularSource()


def choose_source(plan: Plan) -> Source:
    """Which source is to answer: the model needs a known item, cold start needs interests."""
    if len(plan.history.items):
        return MODEL
    return POPULAR if plan.query.interests is None else COLD_START


def _best_of_all(
    scores: FloatArray, k: int, excluded: IndexArray, allowed: IndexArray | None
) -> Best:
    mask(scores, excluded)
    items = top_k(scores, k, allowed)
    return items, scores[items]
