"""The base ranking: one inference for all plans of a source, and the best that each plan allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.model.arrays import NO_ITEMS, NO_SCORES, FloatArray, IndexArray
from app.model.model import Model
from app.recommend.best import RuledSource
from app.recommend.diversity import pool_size
from app.recommend.plan import Plan
from app.recommend.reordering import Reordering
from app.recommend.sources import MODEL, POPULAR, Source, choose_source
from app.reranking.policy import wants_rerank


@dataclass(slots=True)
class Ranking:
    """The best items for a plan by its source, complete before reranking.

    Attributes:
        items: item_indices int32, best first: k, or more where an answer is chosen from a larger
            pool, or to be reranked first.
        scores: float32, of the items.
        n_candidates: how many of the first items are to be reranked; 0: none.
        reordering: the outcome of that, if it was tried.
        ruled: where further items come from, with the plan's rules; None: it has none.
        pinned: the pinned items that the answer may hold, and their scores; None: there are none.
    """

    plan: Plan
    source: Source
    items: IndexArray
    scores: FloatArray
    n_candidates: int = 0
    ruled: RuledSource | None = None
    pinned: Mapping[int, float] | None = None
    reordering: Reordering | None = None


def score(plans: Sequence[Plan], model: Model) -> list[Ranking]:
    """The base ranking for each plan, by its source; by popularity where that one can't."""
    sources = [choose_source(plan) for plan in plans]
    rows: list[FloatArray | None] = [None] * len(plans)
    for source in set(sources):
        positions = [position for position, one in enumerate(sources) if one is source]
        found = source.score([plans[position] for position in positions], model)
        for position, row in zip(positions, found, strict=True):
            rows[position] = row
    return [
        _rank(plan, source, row, model)
        for plan, source, row in zip(plans, sources, rows, strict=True)
    ]


def _rank(plan: Plan, source: Source, scores: FloatArray | None, model: Model) -> Ranking:
    query = plan.query
    excluded, seen = plan.excluded, plan.history.items
    if query.exclude_seen is not True:
        seen = plan.history.of_types(query.exclude_seen) if query.exclude_seen else NO_ITEMS
    if len(seen):
        excluded = np.concatenate([excluded, seen]) if len(excluded) else seen
    k = query.k
    if query.diversity > 0 or (plan.rules is not None and plan.rules.capped):
        k = pool_size(k)
    n_candidates = 0
    reranker = model.reranker if source is MODEL else None
    if reranker is not None and wants_rerank(query.rerank, plan.history, reranker):
        n_candidates = reranker.layout.n_candidates
        k = max(k, n_candidates)
    if scores is not None:
        ranking = _find(plan, source, scores, k, excluded, model)
        if _is_sound(ranking.items, ranking.scores, k, scores):
            ranking.n_candidates = n_candidates
            return ranking
    return _find(plan, POPULAR, NO_SCORES, k, excluded, model)


def _find(
    plan: Plan, source: Source, scores: FloatArray, k: int, excluded: IndexArray, model: Model
) -> Ranking:
    if plan.rules is None:
        items, best = source.best(scores, k, excluded, plan.allowed, model)
        return Ranking(plan, source, items, best)
    ruled = RuledSource(plan.rules, source, scores, excluded, plan.allowed, model)
    ruled.weight()
    items, best = ruled.best(k)
    pinned = ruled.pinned() if plan.rules.pinned else None
    return Ranking(plan, source, items, best, ruled=ruled, pinned=pinned)


def _is_sound(items: IndexArray, best: FloatArray, k: int, scores: FloatArray) -> bool:
    """Whether a ranking is usable: a model can overflow for some histories only.

    Items are best first and NaN is never among the best, so an infinite first score or too few
    items show an overflow.
    """
    if len(items) and not math.isfinite(best[0]):
        return False
    return len(items) == k or not np.isnan(scores).any()
