"""Figures from ranks: means over seeds, gains paired over users and seeds, groups of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from offline.data.split import Cases
from offline.evaluate.figures import tail_cases
from offline.intervals import Float64, uncertainty_of
from offline.metrics import UNRANKED, Ranks, gains, hits

K = 10
NEGATIVES = 100
RARE_SHARE = 0.2

Bool = npt.NDArray[np.bool_]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Groups:
    """Groups of cases, bool [C] each, and the number of candidates.

    Attributes:
        of: by name: all; tail, the fifth of the users with the shortest histories; rare, cases
            whose target is among the rarest items that have a fifth of all training interactions.
        n_candidates: int64 [C], the catalogue without the history.
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
        return cls(groups, len(counts) - 1 - seen)


def rare_items(counts: npt.NDArray[np.int64]) -> Bool:
    """The rarest items, which together have a fifth of the interactions; bool [N+1]."""
    order = np.argsort(counts[1:], kind="stable") + 1
    up_to = np.cumsum(counts[order])
    rare = np.zeros(len(counts), bool)
    rare[order[up_to <= RARE_SHARE * up_to[-1]]] = True
    return rare


def describe_entry(ranks: Sequence[Ranks], groups: Groups, at: Sequence[int] = ()) -> Figures:
    """Means over seeds, with the standard error over users and seeds and the 95 % margin.

    Args:
        ranks: one int64 [C] a seed.
        groups: of the cases.
        at: further cut-offs k, of which there are means alone.
    """
    figures: Figures = {"seeds": len(ranks)}
    for name, chosen in groups.of.items():
        if not chosen.any():
            continue
        hit_rates = np.stack([hits(of_seed[chosen], K) for of_seed in ranks])
        ndcgs = np.stack([gains(of_seed[chosen], K) for of_seed in ranks])
        uncertainty = uncertainty_of(ndcgs)
        figures[name] = {
            "cases": int(chosen.sum()),
            "hit_rate_at_10": float(hit_rates.mean()),
            "hit_rate_at_10_standard_error": uncertainty_of(hit_rates).standard_error,
            "ndcg_at_10": float(ndcgs.mean()),
            "ndcg_at_10_standard_error": uncertainty.standard_error,
            "ndcg_at_10_margin": uncertainty.margin,
            "ndcg_at_10_of_seeds": [float(mean) for mean in ndcgs.mean(axis=1)],
        }
        for k in at:
            for metric, of_ranks in (("hit_rate", hits), ("ndcg", gains)):
                means = [of_ranks(of_seed[chosen], k).mean() for of_seed in ranks]
                figures[name][f"{metric}_at_{k}"] = float(np.mean(means))
    sampled = [among_negatives(of_seed, groups.n_candidates) for of_seed in ranks]
    figures["among_100_negatives"] = {
        "hit_rate_at_10": float(np.mean([hit.mean() for hit, _ in sampled])),
        "ndcg_at_10": float(np.mean([gain.mean() for _, gain in sampled])),
    }
    return figures


def paired_gain(
    ranks: Sequence[Ranks], others: Sequence[Ranks], chosen: Bool, k: int = K
) -> Figures:
    """The gain in NDCG@k over another entry, paired by user and seed, with its 95 % interval.

    An entry without seeds of its own (a baseline) has one array, which stands for each.
    """
    n = max(len(ranks), len(others))
    pairs = zip(_repeated(ranks, n), _repeated(others, n), strict=True)
    differences = np.stack(
        [gains(one[chosen], k) - gains(other[chosen], k) for one, other in pairs]
    )
    mean, margin = float(differences.mean()), uncertainty_of(differences).margin
    against = float(np.mean([gains(other[chosen], k).mean() for other in others]))
    return {
        f"ndcg_at_{k}": mean,
        "from": mean - margin,
        "to": mean + margin,
        "relative": mean / against if against else None,
    }


def among_negatives(ranks: Ranks, n_candidates: npt.NDArray[np.int64]) -> tuple[Float64, Float64]:
    """Expected hit and gain at 10 among the target and 100 candidates drawn at random.

    Papers draw once; the mean over all draws follows from the full rank: how many of the drawn
    stand before the target is hypergeometric. Cases with fewer candidates are ranked among all. A
    target that is no candidate (UNRANKED) is a miss.

    Args:
        ranks: full ranks, int64 [C].
        n_candidates: int64 [C], number of candidates; a ranked target is one of them.

    Returns:
        Two float64 [C].
    """
    pairs, place_of = np.unique(np.stack([ranks, n_candidates]), axis=1, return_inverse=True)
    is_candidate = pairs[0] != UNRANKED
    pairs = np.where(is_candidate, pairs, 1)
    n_ahead, n_others = pairs - 1
    ahead = np.arange(K)[:, None]
    drawn = np.minimum(NEGATIVES, n_others)
    # Without other candidates none is drawn.
    probability = stats.hypergeom.pmf(ahead, np.maximum(n_others, 1), n_ahead, drawn)
    probability *= is_candidate
    hit = probability.sum(axis=0)
    gain = (probability / np.log2(2.0 + ahead)).sum(axis=0)
    return hit[place_of.ravel()], gain[place_of.ravel()]


def _repeated(ranks: Sequence[Ranks], n: int) -> Sequence[Ranks]:
    return ranks if len(ranks) == n else [ranks[0]] * n
