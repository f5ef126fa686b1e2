"""Chooses the items of an answer from a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.model import Model
from app.recommend.diversity import diversify
from app.recommend.plan import Plan
from app.recommend.reordering import Reordering
from app.recommend.scoring import Ranking
from app.recommend.sources import MODEL, POPULAR, Source


@dataclass(slots=True)
class Choice:
    """The items of an answer, in its order.

    Attributes:
        items: item_indices int32 [<= k].
        scores: float32, of the items, by the source that answers.
        reordering: the outcome of reranking, if that was tried.
        explanations: of the items; None if not requested.
    """

    plan: Plan
    source: Source
    items: IndexArray
    scores: FloatArray
    reordering: Reordering | None = None
    explanations: list[dict[str, Any]] | None = None


def choose(rankings: Sequence[Ranking], model: Model) -> list[Choice]:
    """The items of each answer: the best, or diverse ones among them where requested."""
    return [_choose(ranking, model) for ranking in rankings]


def _choose(ranking: Ranking, model: Model) -> Choice:
    plan, items, scores = ranking.plan, ranking.items, ranking.scores
    if plan.query.diversity > 0:
        relevance = scores
        if plan.reranked in ("fresh", "cached"):
            # As relevant as the item that had this rank before.
            relevance = np.sort(scores)[::-1]
        chosen = diversify(relevance, model.table[items], plan.query.k, plan.query.diversity)
        items, scores = items[chosen], scores[chosen]
    elif len(items) > plan.query.k:
        items, scores = items[: plan.query.k], scores[: plan.query.k]
    if ranking.source is POPULAR:
        _note_what_is_missing(plan)
    return Choice(plan, ranking.source, items, scores, ranking.reordering)


def _note_what_is_missing(plan: Plan) -> None:
    """Name the unusable parts of a query that is answered by popularity."""
    if len(plan.history.items):
        plan.degraded.append(MODEL.name)
    elif plan.query.interests is not None:
        plan.degraded.append("interests")
