"""A published bundle's model as it ranks another catalogue's items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.fresh_items import FreshItem
from model_store.id_map import IdMap
from offline.data.histories import Histories
from offline.metrics import Scores
from offline.recommender.exported import ExportedNetwork


class BundleScores:
    """Scores by a bundle's graph and item table, for histories of a larger or smaller catalogue.

    Fresh items have the rows that a service gives them. Others that the bundle lacks are left out
    of histories, and are never recommended. A history with none of its items is answered by
    popularity.

    Args:
        bundle: of a model that recommends.
        item_ids: of the catalogue whose item_indices histories and scores are of.
        fresh: items that the version was given after its training.
    """

    def __init__(self, bundle: Bundle, item_ids: IdMap, fresh: Sequence[FreshItem] = ()) -> None:
        fresh = [one for one in fresh if one.item_id not in bundle.item_ids]
        own_ids = bundle.item_ids.extended([one.item_id for one in fresh])
        known = [own_ids.index_of(one) or 0 for one in item_ids.ids]
        self._own = np.array([0, *known], dtype=np.int32)
        self._rows = np.flatnonzero(self._own)
        self._popularity = np.append(bundle.popularity, np.zeros(len(fresh), np.float32))
        table = np.vstack([bundle.item_table, _fresh_rows(bundle, fresh)])
        self._network = ExportedNetwork(
            bundle.folder / files.MODEL, table, bundle.manifest.model.max_length
        )

    def are_known(self, items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Whether the bundle has each of some items, bool."""
        flags: npt.NDArray[np.bool_] = self._own[items] > 0
        return flags

    def score(self, histories: Histories) -> Scores:
        """Scores float32 [B, N+1]; -inf of items that the bundle lacks."""
        scores = np.full((len(histories), len(self._own)), -np.inf, dtype=np.float32)
        own = [items[items > 0] for items in (self._own[history] for history in histories)]
        read = [row for row, items in enumerate(own) if len(items)]
        columns = self._own[self._rows]
        scores[:, self._rows] = self._popularity[columns]
        if read:
            found = self._network.score([own[row] for row in read])
            scores[np.array(read)[:, None], self._rows] = found[:, columns]
        return scores


def _fresh_rows(bundle: Bundle, fresh: Sequence[FreshItem]) -> npt.NDArray[np.float32]:
    """float32 [F, D]: `[knowledge_vector, 1] @ fresh_projection` of each."""
    projection = bundle.fresh_projection
    if projection is None or not fresh:
        return np.zeros((0, bundle.item_table.shape[1]), np.float32)
    inputs = np.ones((len(fresh), len(projection)), np.float32)
    inputs[:, :-1] = [one.vector for one in fresh]
    rows: npt.NDArray[np.float32] = inputs @ projection
    return rows
