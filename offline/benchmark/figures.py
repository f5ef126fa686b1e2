"""From ranks to figures: means over seeds, gains paired over users and seeds, groups of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lgamma
from typing import Any

import numpy as np
import numpy.typing as npt

from offline.data.split import Cases
from offline.evaluate.figures import tail_cases
from offline.metrics import Ranks, gains, hits

K = 10
NEGATIVES = 100
RARE_SHARE = 0.2
# Student's t: standard errors on either side of a mean that hold 95 %, by degrees of freedom.
_DEGREES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 60, 120, np.inf)
_T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306),
    *(2.228, 2.179, 2.131, 2.086, 2.042, 2.000, 1.980, 1.960),
)

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Groups:
    """Which cases are looked at apart, bool [C] each; and what the ranks are among.

    Attributes:
        of: by name: all; tail, the fifth of the users with the shortest histories; rare, cases
            whose target is among the rarest items that have a fifth of all training interactions.
        n_candidates: int64 [C], the catalogue without the history, target included.
    """

    of: Mapping[str, Bool]
    n_candidates: npt.NDArray[np.int64]

    @classmethod
    def of_cases(cls, cases: Cases, counts: npt.NDArray[np.int64]) -> Groups:
        """Groups of the cases; `counts` int64 [N+1] are the training interactions of each item."""
        groups = {
            "all": np.ones(len(cases), bool),
            "tail": tail_cases(cases),
            "rare": rare_items(counts)[cases.targets],
        }
        seen = np.array([len(np.unique(cases.history(case))) for case in range(len(cases))])
        itself = [cases.targets[case] in cases.history(case) for case in range(len(cases))]
        return cls(groups, len(counts) - 1 - seen + np.array(itself, dtype=np.int64))


def rare_items(counts: npt.NDArray[np.int64]) -> Bool:
    """The rarest items, which together have a fifth of the interactions; bool [N+1]."""
    order = np.argsort(counts[1:], kind="stable") + 1
    up_to = np.cumsum(counts[order])
    rare = np.zeros(len(counts), bool)
    rare[order[up_to <= RARE_SHARE * up_to[-1]]] = True
    return rare


def describe_entry(ranks: Sequence[Ranks], groups: Groups) -> Figures:
    """Means over seeds, with the standard error over users and seeds and the 95 % margin.

    Args:
        ranks: one int64 [C] a seed.
        groups: of the cases.
    """
    figures: Figures = {"seeds": len(ranks)}
    for name, chosen in groups.of.items():
        if not chosen.any():
            continue
        hit_rates = np.stack([hits(of_seed[chosen], K) for of_seed in ranks])
        ndcgs = np.stack([gains(of_seed[chosen], K) for of_seed in ranks])
        spread = spread_of(ndcgs)
        figures[name] = {
            "cases": int(chosen.sum()),
            "hit_rate_at_10": float(hit_rates.mean()),
            "hit_rate_at_10_standard_error": spread_of(hit_rates).standard_error,
            "ndcg_at_10": float(ndcgs.mean()),
            "ndcg_at_10_standard_error": spread.standard_error,
            "ndcg_at_10_margin": spread.margin,
            "ndcg_at_10_of_seeds": [float(mean) for mean in ndcgs.mean(axis=1)],
        }
    sampled = [among_negatives(of_seed, groups.n_candidates) for of_seed in ranks]
    figures["among_100_negatives"] = {
        "hit_rate_at_10": float(np.mean([hit.mean() for hit, _ in sampled])),
        "ndcg_at_10": float(np.mean([gain.mean() for _, gain in sampled])),
    }
    return figures


def paired_gain(ranks: Sequence[Ranks], others: Sequence[Ranks], chosen: Bool) -> Figures:
    """How much NDCG@10 is above another entry's, paired by user and seed, with its 95 % interval.

    An entry without seeds of its own (a baseline) has one array, which stands for each.
    """
    n = max(len(ranks), len(others))
    pairs = zip(_repeated(ranks, n), _repeated(others, n), strict=True)
    differences = np.stack(
        [gains(one[chosen], K) - gains(other[chosen], K) for one, other in pairs]
    )
    mean, margin = float(differences.mean()), spread_of(differences).margin
    against = float(np.mean([gains(other[chosen], K).mean() for other in others]))
    return {
        "ndcg_at_10": mean,
        "from": mean - margin,
        "to": mean + margin,
        "relative": mean / against if against else None,
    }


@dataclass(frozen=True)
class Spread:
    """How far a mean may be off.

    Attributes:
        standard_error: of the mean.
        margin: half of its 95 % interval.
    """

    standard_error: float
    margin: float


def spread_of(values: Float64) -> Spread:
    """That of the mean of [seeds, users], where both were drawn; of one seed, over users alone.

    The two parts add: what users differ by, averaged over seeds, and what seeds differ by, which
    counts the probability within a cell twice. As seeds are few, the interval is Student's with the
    degrees of freedom of Welch and Satterthwaite: near the normal one where users are what
    differs, and twice as wide where three seeds are.
    """
    variances, degrees = [], []
    for means in (values.mean(axis=0), values.mean(axis=1)):
        if len(means) > 1:
            variances.append(float(means.var(ddof=1)) / len(means))
            degrees.append(len(means) - 1)
    if len(values[0]) < 2:
        return Spread(float("nan"), float("nan"))
    error = float(np.sqrt(sum(variances)))
    parts = sum(variance**2 / free for variance, free in zip(variances, degrees, strict=True))
    inverse_degrees = parts / error**4 if error else 0.0
    factor = np.interp(inverse_degrees, 1 / np.array(_DEGREES[::-1]), _T_95[::-1])
    return Spread(error, float(factor) * error)


def among_negatives(ranks: Ranks, n_candidates: npt.NDArray[np.int64]) -> tuple[Float64, Float64]:
    """Expected hit and gain at 10 among the target and 100 candidates drawn at random.

    Papers draw once; the mean over all draws follows from the full rank: how many of the drawn
    stand before the target is hypergeometric. Cases with fewer candidates are ranked among all.

    Args:
        ranks: full ranks, int64 [C].
        n_candidates: int64 [C], what they are among, the target included.

    Returns:
        Two float64 [C].
    """
    pairs, place_of = np.unique(np.stack([ranks, n_candidates]), axis=1, return_inverse=True)
    expected = np.array(
        [_expect(int(rank) - 1, int(candidates) - 1) for rank, candidates in pairs.T]
    )
    hit, gain = expected[place_of.ravel()].T
    return hit, gain


def _expect(n_ahead: int, n_others: int) -> tuple[float, float]:
    n_drawn = min(NEGATIVES, n_others)
    hit = gain = 0.0
    all_draws = _log_choose(n_others, n_drawn)
    for before in range(min(K, n_ahead + 1, n_drawn + 1)):
        rest = n_drawn - before
        if rest > n_others - n_ahead:
            continue
        draws = _log_choose(n_ahead, before) + _log_choose(n_others - n_ahead, rest)
        probability = float(np.exp(draws - all_draws))
        hit += probability
        gain += probability / np.log2(2.0 + before)
    return hit, gain


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _repeated(ranks: Sequence[Ranks], n: int) -> Sequence[Ranks]:
    return ranks if len(ranks) == n else [ranks[0]] * n
