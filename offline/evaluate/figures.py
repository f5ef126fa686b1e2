"""A ranking as figures: all users, tail users, cold items, and by length of the history."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from offline.data.split import Cases
from offline.intervals import standard_error, uncertainty_of
from offline.metrics import (
    Ranking,
    coverage_at_k,
    gains,
    hit_rate_at_k,
    hits,
    mrr_at_k,
    ndcg_at_k,
)

K = 10
TAIL_SHARE = 0.2
# Upper ends of the history-length buckets; the last one is open.
_BUCKET_ENDS = (5, 10, 20, 50, 100, 200)

Figures = dict[str, float | int]
Bool = npt.NDArray[np.bool_]


def group_figures(
    ranking: Ranking, cases: Cases, counts: npt.NDArray[np.int64]
) -> dict[str, Figures]:
    """Figures of all cases, of tail users, and of cold items where there are any.

    Where some targets stand in their history, those of the others are given too, as new items.

    Args:
        ranking: of the cases.
        cases: the ranked cases.
        counts: training interactions of each item, int64 [N+1].
    """
    n_items = len(counts) - 1
    groups = {"all": np.ones(len(cases), bool), "tail": tail_cases(cases)}
    cold = counts[cases.targets] == 0
    if cold.any():
        groups["cold"] = cold
    is_new = ~cases.are_repeats()
    if not is_new.all():
        groups["new"] = is_new
    return {name: figures_of(ranking, chosen, n_items) for name, chosen in groups.items()}


def figures_of(ranking: Ranking, chosen: Bool, n_items: int) -> Figures:
    """hit_rate, ndcg, mrr and coverage at 10 of the chosen cases, with standard errors."""
    ranks = ranking.ranks[chosen]
    return {
        "cases": len(ranks),
        f"hit_rate_at_{K}": hit_rate_at_k(ranks, K),
        f"hit_rate_at_{K}_standard_error": standard_error(hits(ranks, K)),
        f"ndcg_at_{K}": ndcg_at_k(ranks, K),
        f"ndcg_at_{K}_standard_error": standard_error(gains(ranks, K)),
        f"mrr_at_{K}": mrr_at_k(ranks, K),
        f"coverage_at_{K}": coverage_at_k(ranking.top[chosen], n_items, K),
    }


def tail_cases(cases: Cases) -> Bool:
    """The fifth of the cases with the fewest interactions before the target, bool [C]."""
    order = np.argsort(np.diff(cases.history_offsets), kind="stable")
    tail = np.zeros(len(cases), bool)
    tail[order[: round(len(cases) * TAIL_SHARE)]] = True
    return tail


def ndcg_by_length(ranking: Ranking, cases: Cases) -> list[dict[str, Any]]:
    """NDCG@10 by length of the history; empty buckets are left out."""
    bucket_of = np.searchsorted(_BUCKET_ENDS, np.diff(cases.history_offsets))
    buckets: list[dict[str, Any]] = []
    for bucket in np.unique(bucket_of):
        ranks = ranking.ranks[bucket_of == bucket]
        first = _BUCKET_ENDS[bucket - 1] + 1 if bucket else 1
        open_ended = bucket == len(_BUCKET_ENDS)
        buckets.append(
            {
                "length": f"{first}+" if open_ended else f"{first}–{_BUCKET_ENDS[bucket]}",
                "cases": len(ranks),
                f"ndcg_at_{K}": ndcg_at_k(ranks, K),
                f"ndcg_at_{K}_standard_error": standard_error(gains(ranks, K)),
            }
        )
    return buckets


def paired_gain(ranking: Ranking, other: Ranking) -> Figures:
    """The gain in NDCG@10 over another model on the same cases, with its 95 % interval."""
    differences = gains(ranking.ranks, K) - gains(other.ranks, K)
    mean, margin = float(differences.mean()), uncertainty_of(differences[None]).margin
    return {f"ndcg_at_{K}": mean, "from": mean - margin, "to": mean + margin}
