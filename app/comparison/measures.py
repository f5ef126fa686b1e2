"""How much two ranked lists of items differ.

Lists hold no item twice, and all measures are symmetric.
"""

from __future__ import annotations

from collections.abc import Sequence

PERSISTENCE = 0.9
"""Of rank-biased overlap: the first ten ranks have 65 % of the weight of an endless list."""


def overlap(a: Sequence[str], b: Sequence[str]) -> float:
    """The share of items in common, of the longer list: 0 to 1; of two empty lists 1."""
    if not a and not b:
        return 1.0
    return len(set(a) & set(b)) / max(len(a), len(b))


def rank_correlation(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Spearman's rank correlation of the items in common, -1 to 1.

    Items that one list lacks are left out, and the others ranked anew, so that there are no ties;
    how many are left out is what `overlap` tells. None where fewer than two are in common.
    """
    common = set(a) & set(b)
    n = len(common)
    if n < 2:
        return None
    rank_in_b = {item: rank for rank, item in enumerate(item for item in b if item in common)}
    ordered = (item for item in a if item in common)
    squares = sum((rank - rank_in_b[item]) ** 2 for rank, item in enumerate(ordered))
    return 1 - 6 * squares / (n * (n * n - 1))


def rank_biased_overlap(
    a: Sequence[str], b: Sequence[str], persistence: float = PERSISTENCE
) -> float:
    """Rank-biased overlap (Webber and others, 2010) of lists that end: 0 to 1.

    The mean over depths d of the share of items in common among the first d, weighted by
    persistence ** d; the weights add up to 1 over the longer list. Of two empty lists 1.
    """
    depth = max(len(a), len(b))
    if not depth:
        return 1.0
    seen_a: set[str] = set()
    seen_b: set[str] = set()
    n_common, total, weights, weight = 0, 0.0, 0.0, 1.0
    for place in range(depth):
        if place < len(a):
            seen_a.add(a[place])
            n_common += a[place] in seen_b
        if place < len(b):
            seen_b.add(b[place])
            n_common += b[place] in seen_a
        total += weight * n_common / (place + 1)
        weights += weight
        weight *= persistence
    return total / weights
