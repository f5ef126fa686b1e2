"""Clicks per exposure that another policy would have got, from answers drawn at random.

The policy π_b drew the first ranks of an answer, with logged probabilities of the item at each rank
given those above it; π_e is the policy in question. With the weights

    w_r = ∏ over j ≤ r of π_e(a_j | a_1 … a_(j-1)) / π_b(a_j | a_1 … a_(j-1)),    w_0 = 1,

and c_r = 1 for a click at rank r, the value of π_e on the first R ranks is V = E[Σ w_r c_r], if a
click at a rank depends on the items there and above, and not on those below (the cascade assumption
of RIPS: McInerney et al., "Counterfactual Evaluation of Slate Recommendations with Sequential
Reward Interactions", KDD 2020, section 4). At R = 1 nothing is assumed.

A ranking of π_e that π_b can't draw has no weight anywhere, so the share μ of such rankings lowers
the mean of w_R to 1 - μ. Their clicks are unknown. Where μ is shown to be above 0 the intervals are
those of V for all clicks that these rankings may get, from none to `MAX_LIKED` times as many as the
others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from offline.logged.click_model import ClickModel
from offline.logged.explored import Explored, Float64, Int64
from offline.logged.ratio import Ratio, ratio_of
from offline.logged.target import Behaviour

MIN_EFFECTIVE = 300.0
"""Exposures; from fewer, an interval by the normal approximation can't be trusted."""
MIN_USERS = 30
MIN_CLICKED = 20.0
"""Users with clicks, by Kish's formula for their weighted clicks. Of fewer a normal approximation
is off: with none the interval would be a point."""
MAX_LIKED = 2.0
MAX_MISSING = 0.05
"""By how much the mean weight may be off 1, where it is shown to be off it."""
MIN_MISSING = 0.0005
"""Of less nothing is to be seen in a percentage, and it may be what sums of floats are off."""


@dataclass(frozen=True)
class Values:
    """Estimates of a policy's clicks per exposure.

    Attributes:
        ips: by importance weights.
        snips: by weights that are normalised at each rank.
        dr: doubly robust.
        gain: that estimate less the clicks per exposure of what was shown.
    """

    ips: Ratio
    snips: Ratio
    dr: Ratio
    gain: Ratio


@dataclass(frozen=True)
class Estimate:
    """What is told about a policy on the first ranks.

    Attributes:
        n_ranks: R.
        n_exposures: answers whose first R ranks were drawn.
        n_users: of these.
        logged: their clicks per exposure on these ranks.
        mean_weight: of w_R: 1 where the policy shows nothing that is never drawn.
        n_effective: (Σ w_R)² / Σ w_R², Kish's effective sample size.
        n_clicked: the same of the users' sums of w_r c_r.
        missing: share of the policy's rankings that were never drawn, as far as that is shown; the
            intervals of `values` include what they may get.
        values: None where they can't be told.
        why_not: the reason then; else None.
    """

    n_ranks: int
    n_exposures: int
    n_users: int
    logged: Ratio
    mean_weight: Ratio
    n_effective: float
    n_clicked: float
    missing: float
    values: Values | None
    why_not: str | None


def estimates_of(explored: Explored, behaviour: Behaviour, clicks: ClickModel) -> list[Estimate]:
    """An estimate for the first rank, the first two, and so on, as far as any were drawn.

    Args:
        explored: the answers.
        behaviour: of the policy in question on them.
        clicks: fitted on them.
    """
    log_ratios = np.where(
        explored.shown, behaviour.log_probabilities - explored.log_propensities, 0.0
    )
    weights = np.exp(np.cumsum(log_ratios, axis=1))
    by_rank = clicks.by_rank[explored.folds] * explored.shown
    at_shown = by_rank * clicks.multipliers[explored.folds[:, None], explored.items]
    at_target = by_rank * behaviour.expected
    made = []
    for n_ranks in range(1, explored.items.shape[1] + 1):
        kept = explored.drawn_to(n_ranks)
        columns = slice(0, n_ranks)
        made.append(
            _estimate(
                explored.users[kept],
                explored.clicks[kept, columns],
                weights[kept, columns],
                (by_rank[kept, columns], at_shown[kept, columns], at_target[kept, columns]),
            )
        )
    return made


def _estimate(
    users: Int64, clicks: Float64, w: Float64, expected: tuple[Float64, Float64, Float64]
) -> Estimate:
    ones = np.ones(len(users))
    total = clicks.sum(axis=1)
    last = w[:, -1]
    weighted = (w * clicks).sum(axis=1)
    n_effective = _effective(last)
    clicked: Float64 = np.bincount(users, weights=weighted).astype(np.float64)
    n_clicked = _effective(clicked)
    mean_weight = ratio_of(last, ones, users)
    missing = _missing(mean_weight)
    n_users = len(np.unique(users))
    why_not = _why_not(len(users), n_users, n_effective, n_clicked, mean_weight)
    values = None
    if why_not is None:
        doubly = _doubly_robust(clicks, w, *expected)
        snips = ratio_of(_self_normalised(clicks, w), ones, users)
        unknown = missing * snips.value
        values = Values(
            # In which missing rankings get nothing, and as much as the others.
            ips=_widened(ratio_of(weighted, ones, users), 0.0, MAX_LIKED * unknown),
            snips=_widened(snips, unknown, (MAX_LIKED - 1) * unknown),
            # In which they get what the model of clicks says, which is not known to be right.
            dr=_widened(ratio_of(doubly, ones, users), unknown, unknown),
            gain=_widened(ratio_of(doubly - total, ones, users), unknown, unknown),
        )
    return Estimate(
        n_ranks=clicks.shape[1],
        n_exposures=len(users),
        n_users=n_users,
        logged=ratio_of(total, ones, users),
        mean_weight=mean_weight,
        n_effective=n_effective,
        n_clicked=n_clicked,
        missing=missing,
        values=values,
        why_not=why_not,
    )


def _effective(weights: Float64) -> float:
    """Kish's effective sample size."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _missing(mean_weight: Ratio) -> float:
    """The share of rankings without support, where it is shown that there are some."""
    high = mean_weight.high if mean_weight.has_interval else mean_weight.value
    missing = 1 - mean_weight.value
    return missing if high < 1 and missing >= MIN_MISSING else 0.0


def _widened(ratio: Ratio, below: float, above: float) -> Ratio:
    return replace(ratio, low=ratio.low - below, high=ratio.high + above)


def _self_normalised(clicks: Float64, w: Float64) -> Float64:
    """Values whose mean is Σ_r Σ w_r c_r / Σ w_r, and whose deviations are its linearisation."""
    at_rank = (w * clicks).sum(axis=0) / w.sum(axis=0)
    deviations = w * (clicks - at_rank) / w.mean(axis=0)
    values: Float64 = at_rank.sum() + deviations.sum(axis=1)
    return values


def _doubly_robust(
    clicks: Float64, w: Float64, by_rank: Float64, at_shown: Float64, at_target: Float64
) -> Float64:
    """Each answer's term of the cascade-DR estimate, [E].

    Σ_r w_r (c_r - q_r(a_r) - G_(r+1)) + w_(r-1) (E_π_e[q_r(a)] + G_(r+1)), with q_r the expected
    clicks at a rank and G_(r+1) those of all later ranks (Kiyohara et al., "Doubly Robust
    Off-Policy Evaluation for Ranking Policies under the Cascade Behavior Model", WSDM 2022, section
    4). Their G depends on the items above; here it is that of average items, so that it needs no
    sum over rankings. The estimate is unbiased with any G.
    """
    later = by_rank.sum(axis=1, keepdims=True) - np.cumsum(by_rank, axis=1)
    before = np.concatenate([np.ones((len(w), 1)), w[:, :-1]], axis=1)
    terms: Float64 = w * (clicks - at_shown - later) + before * (at_target + later)
    sums: Float64 = terms.sum(axis=1)
    return sums


def _why_not(
    n: int, n_users: int, n_effective: float, n_clicked: float, mean_weight: Ratio
) -> str | None:
    if n_users < MIN_USERS:
        return f"{n_users} users with such answers, and {MIN_USERS} are needed"
    if n_effective < MIN_EFFECTIVE:
        return (
            f"effective sample size {n_effective:.1f} of {n:,} exposures, "
            f"and {MIN_EFFECTIVE:g} are needed"
        )
    if n_clicked < MIN_CLICKED:
        return (
            f"effective number of users with clicks {n_clicked:.1f}, and {MIN_CLICKED:g} are needed"
        )
    low, high = mean_weight.low, mean_weight.high
    if not mean_weight.has_interval:
        low = high = mean_weight.value
    told = f"mean weight {mean_weight.value:.3f} ({low:.3f} to {high:.3f})"
    if high < 1 - MAX_MISSING:
        return f"{told}: the bundle would show items that were never drawn"
    if low > 1 + MAX_MISSING:
        return f"{told}: the logged propensities are not those of the answers"
    return None
