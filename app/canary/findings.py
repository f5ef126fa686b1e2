"""What the counts of a canary and of the active version show, criterion by criterion."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from app.canary.bounds import CONCEDED, Bounds
from app.canary.outcomes import EDGES_S, Outcomes
from app.canary.sequential_test import (
    Float64,
    Hits,
    evidence_above,
    evidence_below,
    mean_evidence,
    p_value,
)

Criterion: TypeAlias = Literal["errors", "empty", "short", "degraded", "popular", "latency"]
RATES: tuple[Criterion, ...] = ("errors", "empty", "short", "degraded", "popular")
CRITERIA: tuple[Criterion, ...] = (*RATES, "latency")
OF_READY = ("degraded", "popular")
"""Rates among the answers that were not made while a reranker was being loaded."""
ALPHA_SHARES: dict[Criterion, float] = dict.fromkeys(CRITERIA, 0.14) | {"errors": 0.3}
"""Of the level, by criterion; together 1. Errors harm most, and a low bound needs most answers."""
QUANTILES = (0.5, 0.95)

State: TypeAlias = Literal["worse", "open", "holds"]
"""Of one criterion: shown to be worse; nothing shown yet; shown to be within its bound."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One criterion.

    Attributes:
        criterion: its name.
        state: what is shown.
        canary: share of its answers; of latency, seconds. 0 without answers.
        active: the same of the active version.
        canary_answers: answers that the share is of.
        active_answers: the same of the active version.
        bound: most that the share may exceed the active one's by; of latency, most times as long.
        quantile: the quantile of latency that is given, the one that is slower by more; or None.
        p: the always-valid p-value of a difference this large, by the criterion's share of the
            level; 1 where the bound isn't exceeded.
    """

    criterion: Criterion
    state: State
    canary: float
    active: float
    canary_answers: int
    active_answers: int
    bound: float
    quantile: float | None = None
    p: float = 1.0


def findings_of(active: Outcomes, canary: Outcomes, bounds: Bounds) -> list[Finding]:
    """One for each of CRITERIA, in their order."""
    rates = [_rate(criterion, active, canary, bounds) for criterion in RATES]
    return [*rates, _latency(active, canary, bounds)]


def _rate(criterion: Criterion, active: Outcomes, canary: Outcomes, bounds: Bounds) -> Finding:
    bound: float = getattr(bounds, criterion)
    n_canary, n_active = canary.answers, active.answers
    if criterion in OF_READY:
        n_canary, n_active = canary.ready, active.ready
    of_canary = Hits(getattr(canary, criterion), n_canary)
    of_active = Hits(getattr(active, criterion), n_active)
    share, active_share = _share(of_canary), _share(of_active)
    p = 1.0
    if n_canary and n_active and share - active_share > bound:
        tolerance = max(bound - CONCEDED, 0.0)
        p = _corrected(evidence_above(of_canary, of_active, tolerance), criterion)
        state = _state_beyond(p, bounds)
    else:
        state = _state_within(evidence_below(of_canary, of_active, bound), bounds)
    counted = (n_canary, n_active)
    return Finding(criterion, state, share, active_share, *counted, bound, p=p)


def _latency(active: Outcomes, canary: Outcomes, bounds: Bounds) -> Finding:
    counted = (canary.timed, active.timed)
    slowest = max(_slowdowns(active, canary), default=None)
    if slowest is None:
        return Finding("latency", "open", 0.0, 0.0, *counted, bounds.slowdown)
    slowdown, quantile, seconds, active_seconds = slowest
    p = 1.0
    if slowdown > bounds.slowdown:
        p = _corrected(_evidence_slower(active, canary), "latency")
        state = _state_beyond(p, bounds)
    else:
        edge_s = bounds.slowdown * (active.quantile_s(0.95) or 0.0)
        log_evidence = _evidence_not_slow(active, canary, edge_s, bounds.slow_share)
        state = _state_within(log_evidence, bounds)
    measured = (seconds, active_seconds, *counted)
    return Finding("latency", state, *measured, bounds.slowdown, quantile, p)


def _state_beyond(p: float, bounds: Bounds) -> State:
    """Of a bound that is exceeded, at random perhaps."""
    return "worse" if p <= bounds.alpha else "open"


def _state_within(log_evidence: Float64, bounds: Bounds) -> State:
    """Of a bound that is not exceeded so far.

    Not corrected for the number of criteria: `fine` needs all of them, so that of one which doesn't
    hold is enough to prevent it.
    """
    return "holds" if p_value(log_evidence) <= bounds.alpha else "open"


def _corrected(log_evidence: Float64, criterion: Criterion) -> float:
    """The p-value by Bonferroni's correction for all criteria, weighted by their shares."""
    return min(1.0, p_value(log_evidence) / ALPHA_SHARES[criterion])


def _share(of: Hits) -> float:
    return float(of.hits / np.maximum(of.answers, 1))


def _slowdowns(active: Outcomes, canary: Outcomes) -> Iterator[tuple[float, float, float, float]]:
    """Of each quantile: how many times as long, the quantile, seconds of canary and active."""
    for quantile in QUANTILES:
        seconds, active_seconds = canary.quantile_s(quantile), active.quantile_s(quantile)
        if seconds is not None and active_seconds is not None:
            yield seconds / active_seconds, quantile, seconds, active_seconds


def _evidence_slower(active: Outcomes, canary: Outcomes) -> Float64:
    """Against: the canary's answers take no longer than the active version's and a bucket more.

    Then at every edge of the buckets, no larger share of its answers is slower than the next edge
    than of the active version's is slower than this one. All of these are tested.
    """
    of_canary, of_active = np.array(canary.slower()[1:]), np.array(active.slower()[:-1])
    return mean_evidence(
        evidence_above(
            Hits(of_canary, np.full_like(of_canary, canary.timed)),
            Hits(of_active, np.full_like(of_active, active.timed)),
        )
    )


def _evidence_not_slow(active: Outcomes, canary: Outcomes, slow_s: float, bound: float) -> Float64:
    """Against: the share of slow answers exceeds the active version's by the bound or more.

    Where slow answers begin follows from the active version's answers. They are many, so it is
    taken as given.
    """
    edge = min(bisect_left(EDGES_S, slow_s), len(EDGES_S) - 1)
    return evidence_below(
        Hits(canary.slower()[edge], canary.timed), Hits(active.slower()[edge], active.timed), bound
    )
