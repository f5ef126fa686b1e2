"""The step `rerank`: mixes a language model's ranking of the first items into the base ranking.

It takes no item away: the candidates change places among themselves, and all other items stay where
they are. Filters, exclusions, diversity and k hold as without it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.model.model import Model
from app.recommend.reordering import Reordering
from app.recommend.scoring import Ranking
from app.reranking.cached_reranker import CachedReranker
from app.reranking.job import Job
from app.reranking.outcome import SKIPPED, Result
from app.reranking.policy import limits_of
from model_store.aggregation import aggregate

log = logging.getLogger(__name__)

Places = npt.NDArray[np.intp]


def needs_reranking(rankings: Sequence[Ranking]) -> bool:
    """Whether one of the rankings is to be reranked, or can't be though the request wants it."""
    for ranking in rankings:
        if ranking.n_candidates or ranking.plan.query.rerank == "always":
            return True
    return False


async def rerank(
    rankings: Sequence[Ranking], model: Model, reranker: CachedReranker
) -> Sequence[Ranking]:
    """The rankings, their first items in the order of both models where that is there in time.

    Never fails: without the reranker a ranking stays as it is, and `degraded` names it.
    """
    jobs: list[tuple[Ranking, Places, Job]] = []
    for ranking in rankings:
        if ranking.n_candidates and reranker.is_on:
            places, job = make_job(ranking, model)
            if job is not None:
                jobs.append((ranking, places, job))
                continue
        if ranking.plan.query.rerank == "always":
            ranking.plan.degraded.append("rerank")
    if jobs:
        results = await _ask(rankings, jobs, reranker)
        for (ranking, places, _), result in zip(jobs, results, strict=True):
            _apply(ranking, places, result, model)
    return rankings


async def _ask(
    rankings: Sequence[Ranking],
    jobs: Sequence[tuple[Ranking, Places, Job]],
    reranker: CachedReranker,
) -> Sequence[Result]:
    n_explained = sum(ranking.plan.query.explain for ranking in rankings)
    limits = [
        limits_of(ranking.plan.deadline, reranker.max_wait_s, len(rankings), n_explained)
        for ranking, _, _ in jobs
    ]
    try:
        return await reranker.rerank([job for _, _, job in jobs], limits)
    except Exception:
        # The base ranking is complete: no fault in here is worth a failed request.
        log.exception("reranking failed")
        return [SKIPPED] * len(jobs)


def make_job(ranking: Ranking, model: Model) -> tuple[Places, Job | None]:
    """The places of the candidates and the job to rank them; no job if there is nothing to rank.

    The language model doesn't know fresh items: they are no candidates, and keep their places.
    """
    assert model.reranker is not None  # noqa: S101 - or no ranking had candidates
    plan, n_known = ranking.plan, len(model.ids) - model.n_fresh
    first = ranking.items[: ranking.n_candidates]
    places = np.flatnonzero(first <= n_known)
    history = plan.history.items[plan.history.items <= n_known]
    if len(places) < 2 or not len(history):
        return places, None
    longest = max(model.sequence.max_length, model.reranker.layout.n_history)
    job = Job(
        version=model.version,
        user_id=plan.query.user_id,
        history=tuple(history[-longest:].tolist()),
        candidates=tuple(first[places].tolist()),
    )
    return places, job


def _apply(ranking: Ranking, places: Places, result: Result, model: Model) -> None:
    assert model.reranker is not None  # noqa: S101 - as above
    plan = ranking.plan
    weight = model.reranker.weighting.weight(len(plan.history.items))
    plan.reranked = result.outcome
    ranking.reordering = Reordering(ranking.items, ranking.items[places], weight, result)
    if result.answer is not None:
        order = np.arange(len(ranking.items))
        order[places] = places[aggregate(result.answer.scores, weight)]
        ranking.items, ranking.scores = ranking.items[order], ranking.scores[order]
    elif result.outcome == "skipped":
        plan.degraded.append("rerank")
