"""Chooses the items of an answer from a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.model import Model
from app.model.rule_effect import Effect
from app.recommend.arrangement import Arrangement
from app.recommend.diversity import diversify
from app.recommend.plan import Plan
from app.recommend.reordering import Reordering
from app.recommend.scoring import Ranking
from app.recommend.sources import POPULAR, Source, choose_source
from model_store.exposure_log import Exploration


@dataclass(slots=True)
class Choice:
    """The items of an answer, in its order.

    Attributes:
        items: item_indices int32 [<= k].
        scores: float32, of the items, by the source that answers.
        reordering: the outcome of reranking, if that was tried.
        explanations: of the items; None if not requested.
        moved_by: by item_index, the pins and caps that moved it.
        exploration: how the first ranks were drawn at random; None: they weren't.
    """

    plan: Plan
    source: Source
    items: IndexArray
    scores: FloatArray
    reordering: Reordering | None = None
    explanations: list[dict[str, Any]] | None = None
    moved_by: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    exploration: Exploration | None = None


def choose(rankings: Sequence[Ranking], model: Model) -> list[Choice]:
    """The items of each answer: the best, or diverse ones among them where requested."""
    return [_choose(ranking, model) for ranking in rankings]


def _choose(ranking: Ranking, model: Model) -> Choice:
    plan, items, scores = ranking.plan, ranking.items, ranking.scores
    if ranking.source is POPULAR:
        _note_what_is_missing(plan, model)
    if ranking.draws is not None and len(items):
        drawn = ranking.draws.draw(items, scores, plan.query.k)
        choice = Choice(plan, ranking.source, drawn.items, drawn.scores)
        choice.exploration = drawn.exploration
        return choice
    if plan.rules is not None and plan.rules.arranges:
        return _arrange(ranking, plan.rules, model)
    if plan.query.diversity > 0:
        chosen = diversify(
            _relevance(ranking), model.table[items], plan.query.k, plan.query.diversity
        )
        items, scores = items[chosen], scores[chosen]
    elif len(items) > plan.query.k:
        items, scores = items[: plan.query.k], scores[: plan.query.k]
    return Choice(plan, ranking.source, items, scores, ranking.reordering)


def _arrange(ranking: Ranking, rules: Effect, model: Model) -> Choice:
    """The items with pinned ones at their ranks, and no more of a kind than caps permit."""
    plan, query = ranking.plan, ranking.plan.query
    arrangement = Arrangement(rules, ranking.pinned or {}, query.k, explains=query.explain)
    items, scores = ranking.items.tolist(), ranking.scores.tolist()
    if ranking.left is not None:
        arrangement.take_from(ranking.left)
    elif query.diversity > 0:
        diversify(
            _relevance(ranking),
            model.table[ranking.items],
            arrangement.n_left,
            query.diversity,
            lambda position: arrangement.take(items[position], scores[position]),
        )
    else:
        arrangement.take_all(items, scores)
    if ranking.left is None and arrangement.n_left and ranking.ruled is not None:
        arrangement.fill(ranking.ruled.further)
    best = arrangement.best()
    choice = Choice(plan, ranking.source, *best, ranking.reordering)
    choice.moved_by = arrangement.notes
    return choice


def _relevance(ranking: Ranking) -> FloatArray:
    """Scores that diversity weighs against similarity."""
    if ranking.plan.reranked in ("fresh", "cached"):
        # As relevant as the item that had this rank before.
        return np.sort(ranking.scores)[::-1]
    return ranking.scores


def _note_what_is_missing(plan: Plan, model: Model) -> None:
    """Name the unusable parts of a query that is answered by popularity."""
    if len(plan.history.items):
        plan.degraded.append(choose_source(plan, model).name)
    elif plan.query.interests is not None:
        plan.degraded.append("interests")
