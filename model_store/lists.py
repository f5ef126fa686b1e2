"""The order in which a retriever searches its lists; the build and the service share it.

The score of an item is that of its list's centre plus a part from its distance to the centre. In
a wide list that part can be large, so some of the best thousand items are in lists whose centres
rank low. Each centre's score is therefore raised in proportion to its list's standard deviation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def measure_list_stds(
    lengths: Floats, list_ids: npt.NDArray[np.uint16], centres: Floats, n_lists: int
) -> Floats:
    """Standard deviation of each list's items, per coordinate: float32 [n_lists], 0 if empty.

    Computed from lengths alone: mean square of the rows less that of the centre. Exact where the
    centre is the mean of the items.

    Args:
        lengths: float32 [M], of the items' rows.
        list_ids: uint16 [M], the list of each row.
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
    """The scores that lists are ranked by: float32 [n_lists].

    Args:
        centre_scores: float32 [n_lists], `centres @ user`.
        user: float32 [D].
        list_stds: float32 [n_lists], see `measure_list_stds`.
        spread_weight: standard deviations added to a centre's score.
    """
    if spread_weight == 0:
        return centre_scores
    ranked: Floats = centre_scores + np.float32(spread_weight * np.linalg.norm(user)) * list_stds
    return ranked
