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
from offline.evaluate.metrics import Ranks, gains, hits

K = 10
NEGATIVES = 100
RARE_SHARE = 0.2
Z_95 = 1.96  # standard errors on either side of a mean: its 95 % interval

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
    """Means over seeds, with the standard error over users and seeds.

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
        figures[name] = {
            "cases": int(chosen.sum()),
            "hit_rate_at_10": float(hit_rates.mean()),
            "hit_rate_at_10_standard_error": standard_error(hit_rates),
            "ndcg_at_10": float(ndcgs.mean()),
            "ndcg_at_10_standard_error": standard_error(ndcgs),
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
    mean, error = float(differences.mean()), standard_error(differences)
    against = float(np.mean([gains(other[chosen], K).mean() for other in others]))
    return {
        "ndcg_at_10": mean,
        "from": mean - Z_95 * error,
        "to": mean + Z_95 * error,
        "relative": mean / against if against else None,
    }


def standard_error(values: Float64) -> float:
    """Standard error of the mean of [seeds, users], where both were drawn.

    The two parts add: what users differ by, averaged over seeds, and what seeds differ by. That
    counts the chance within a cell twice, so it is rather too wide than too narrow.
    """
    of_users, of_seeds = values.mean(axis=0), values.mean(axis=1)
    variance = of_users.var(ddof=1) / len(of_users) if len(of_users) > 1 else float("nan")
    if len(of_seeds) > 1:
        variance += of_seeds.var(ddof=1) / len(of_seeds)
    return float(np.sqrt(variance))


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
        chance = float(np.exp(draws - all_draws))
        hit += chance
        gain += chance / np.log2(2.0 + before)
    return hit, gain


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _repeated(ranks: Sequence[Ranks], n: int) -> Sequence[Ranks]:
    return ranks if len(ranks) == n else [ranks[0]] * n
