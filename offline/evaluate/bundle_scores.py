"""A published bundle's model as it ranks another catalogue's items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.id_map import IdMap
from offline.data.histories import Histories
from offline.metrics import Scores
from offline.recommender.exported import ExportedNetwork


class BundleScores:
    """Scores by a bundle's graph and item table, for histories of a larger or smaller catalogue.

    Items that the bundle lacks are left out of histories, as its service does, and are never
    recommended. A history with none of its items is answered by popularity.

    Args:
        bundle: of a model that recommends.
        item_ids: of the catalogue whose item_indices histories and scores are of.
    """

    def __init__(self, bundle: Bundle, item_ids: IdMap) -> None:
        known = [bundle.item_ids.index_of(one) or 0 for one in item_ids.ids]
        self._own = np.array([0, *known], dtype=np.int32)
        self._rows = np.flatnonzero(self._own)
        self._popularity = bundle.popularity
        self._network = ExportedNetwork(
            bundle.folder / files.MODEL,
            np.ascontiguousarray(bundle.item_table),
            bundle.manifest.model.max_length,
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
