"""From scores to the items of an answer: what is excluded, how many, how different."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.model import Model
from app.recommend.diversity import diversify, pool_size
from app.recommend.plan import Plan
from app.recommend.scoring import Scored
from app.recommend.sources import MODEL, POPULAR, Source


@dataclass(slots=True)
class Choice:
    """The items of an answer, best first.

    Attributes:
        items: item_indices int32 [<= k].
        scores: float32, of the items, by the source that answers.
        explanations: of the items; None where nobody asked for them.
    """

    plan: Plan
    source: Source
    items: IndexArray
    scores: FloatArray
    explanations: list[dict[str, Any]] | None = None


def choose(scored: Sequence[Scored], model: Model) -> list[Choice]:
    """The k best allowed items for each plan, diversified where that is asked for."""
    return [_choose(one, model) for one in scored]


def explain(choices: Sequence[Choice], model: Model) -> Sequence[Choice]:
    """Give each choice the reasons for its items, where its query asks for them."""
    for choice in choices:
        if choice.plan.query.explain:
            choice.explanations = choice.source.explain(
                choice.plan, choice.items, choice.scores, model
            )
    return choices


def _choose(scored: Scored, model: Model) -> Choice:
    plan, source = scored.plan, scored.source
    query = plan.query
    excluded, seen = plan.excluded, plan.history.items
    if query.exclude_seen and len(seen):
        excluded = np.concatenate([excluded, seen]) if len(excluded) else seen
    k = pool_size(query.k) if query.diversity > 0 else query.k
    items, scores = source.best(scored.scores, k, excluded, plan.allowed, model)
    if not _is_sound(items, scores, k, scored.scores):
        source = POPULAR
        items, scores = source.best(scored.scores, k, excluded, plan.allowed, model)
    if query.diversity > 0:
        chosen = diversify(scores, model.table[items], query.k, query.diversity)
        items, scores = items[chosen], scores[chosen]
    if source is POPULAR:
        _note_what_is_missing(plan)
    return Choice(plan, source, items, scores)


def _is_sound(items: IndexArray, scores: FloatArray, k: int, given: FloatArray) -> bool:
    """Whether an answer is one to give: a model can overflow for some histories and not others.

    Items are best first and an item without a number is never among the best, so the first score
    tells of infinities, and a short answer tells of numbers that are missing.
    """
    if len(items) and not math.isfinite(scores[0]):
        return False
    return len(items) == k or not np.isnan(given).any()


def _note_what_is_missing(plan: Plan) -> None:
    """Say what a popular answer is made without, where there was something to go by."""
    if len(plan.history.items):
        plan.degraded.append(MODEL.name)
    elif plan.query.interests is not None:
        plan.degraded.append("interests")
