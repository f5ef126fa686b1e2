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
from app.recommend.exploration import Draws
from app.recommend.plan import Plan
from app.recommend.reordering import Reordering
from app.recommend.sources import DIRECT, MODEL, POPULAR, Source, choose_source
from app.reranking.policy import wants_rerank


@dataclass(slots=True)
class Ranking:
    """The best items for a plan by its source, complete before reranking.

    Attributes:
        items: item_indices int32, best first: k, or more where an answer is chosen from a larger
            pool, or to be reranked first.
        scores: float32, of the items.
        ruled: where further items come from, with the plan's rules; None: it has none.
        pinned: the pinned items that the answer may hold, and their scores; None: there are none.
        left: scores [N+1] that the answer is chosen from one by one, in place of `items`; what it
            may not hold is at -inf.
        n_candidates: how many of the first items are to be reranked; 0: none.
        reordering: the outcome of that, if it was tried.
        draws: how the answer is drawn from the items at random; None: it isn't.
    """

    plan: Plan
    source: Source
    items: IndexArray
    scores: FloatArray
    ruled: RuledSource | None = None
    pinned: Mapping[int, float] | None = None
    left: FloatArray | None = None
    n_candidates: int = 0
    reordering: Reordering | None = None
    draws: Draws | None = None


def score(plans: Sequence[Plan], model: Model) -> list[Ranking]:
    """The base ranking for each plan, by its source; by popularity where that one can't."""
    sources = [choose_source(plan, model) for plan in plans]
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
    draws = plan.draws
    if draws is not None:
        if n_candidates or not _is_repeatable(plan, source):
            draws = None
        else:
            k = max(k, draws.explorer.n_candidates)
    if scores is not None:
        ruled = _rule(plan, source, scores, excluded, model)
        if ruled is not None and not n_candidates and _takes_one_by_one(plan, ruled):
            left = ruled.remaining()
            if left is not None:
                return Ranking(plan, source, NO_ITEMS, NO_SCORES, ruled, _pinned(ruled), left)
        ranking = _find(plan, source, scores, k, excluded, ruled, model)
        if _is_sound(ranking.items, ranking.scores, k, scores):
            ranking.n_candidates, ranking.draws = n_candidates, draws
            return ranking
    ruled = _rule(plan, POPULAR, NO_SCORES, excluded, model)
    return _find(plan, POPULAR, NO_SCORES, k, excluded, ruled, model)


def _is_repeatable(plan: Plan, source: Source) -> bool:
    """Whether the logs suffice to rank again for a request, as estimates from them have to.

    They hold a user's history, and nothing that else was asked for; pins and caps arrange answers
    that are no rankings by score.
    """
    query = plan.query
    return (
        (source is MODEL or source is DIRECT)
        and plan.history.is_complete
        and (plan.rules is None or not plan.rules.arranges)
        and query.user_id is not None
        and query.history is None
        and query.candidates is None
        and query.exclude_seen is True
        and query.exclude_served is None
        and query.diversity == 0
        and not (query.exclude or query.filters or query.boosts or query.explain)
    )


def _rule(
    plan: Plan, source: Source, scores: FloatArray, excluded: IndexArray, model: Model
) -> RuledSource | None:
    """The source as rules have it, its scores weighted; None: no rule holds for the plan."""
    if plan.rules is None:
        return None
    ruled = RuledSource(plan.rules, source, scores, excluded, plan.allowed, model)
    ruled.weight()
    return ruled


def _takes_one_by_one(plan: Plan, ruled: RuledSource) -> bool:
    """Whether the answer is chosen from the scores of all items, without ranking the best first.

    Where pins and caps decide, they keep out much of what ranks first. Explanations count that.
    """
    query = plan.query
    if query.explain or query.diversity > 0:
        return False
    return ruled.effect.arranges and ruled.can_scan(query.k)


def _find(
    plan: Plan,
    source: Source,
    scores: FloatArray,
    k: int,
    excluded: IndexArray,
    ruled: RuledSource | None,
    model: Model,
) -> Ranking:
    if ruled is None:
        items, best = source.best(scores, k, excluded, plan.allowed, model)
        return Ranking(plan, source, items, best)
    items, best = ruled.best(k)
    return Ranking(plan, source, items, best, ruled, _pinned(ruled))


def _pinned(ruled: RuledSource) -> Mapping[int, float] | None:
    return ruled.pinned() if ruled.effect.pinned else None


def _is_sound(items: IndexArray, best: FloatArray, k: int, scores: FloatArray) -> bool:
    """Whether a ranking is usable: a model can overflow for some histories only.

    Items are best first and NaN is never among the best, so an infinite first score or too few
    items show an overflow.
    """
    if len(items) and not math.isfinite(best[0]):
        return False
    return len(items) == k or not np.isnan(scores).any()
