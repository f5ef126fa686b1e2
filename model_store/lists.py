"""The order in which a retriever looks into its lists: the build measures it, the service keeps it.

The score of an item is that of its list's centre, and what the item's distance from the centre
adds. In a wide list that can be much, so that among the best thousand items there are some whose
lists' centres rank anywhere. Each centre is therefore given the credit of its list's spread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def measure_list_stds(
    lengths: Floats, list_ids: npt.NDArray[np.uint16], centres: Floats, n_lists: int
) -> Floats:
    """How far from its centre each list's items lie: float32 [n_lists], 0 for an empty list.

    Root mean square of a coordinate, as lengths alone tell it: that of the rows less that of the
    centre. Exact where the centre is the items' mean.

    Args:
        lengths: float32 [M], of the items' rows.
        places: uint16 [M], the list of each.
        centres: float32 [n_lists, D].
    """
    counts = np.maximum(1, np.bincount(list_ids, minlength=n_lists))
    squares = np.bincount(list_ids, weights=np.square(lengths, dtype=np.float64), minlength=n_lists)
    rest = squares / counts - np.einsum("nd,nd->n", centres, centres)
    list_stds: Floats = np.sqrt(np.maximum(0, rest) / centres.shape[1]).astype(np.float32)
    return list_stds


def rank_lists(
    centre_scores: Floats, user: Floats, list_stds: Floats, spread_weight: float
) -> Floats:
    """What lists are ranked by: float32 [n_lists].

    Args:
        centre_scores: float32 [n_lists], `centres @ user`.
        user: float32 [D].
        spreads: float32 [n_lists], see `measure_spreads`.
        reach: so many standard deviations of the items' scores around their centre's.
    """
    if spread_weight == 0:
        return centre_scores
    ranked: Floats = centre_scores + np.float32(spread_weight * np.linalg.norm(user)) * list_stds
    return ranked
