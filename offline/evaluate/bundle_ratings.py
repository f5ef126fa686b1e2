"""A published bundle of kind rating as it predicts the ratings of another data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.id_map import IdMap
from model_store.manifest import RatingModelInfo
from offline.rating.graph import ExportedRatings
from offline.rating.ratings import Ratings

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class BundleRatings:
    """Predictions by a bundle's graph and rows, as a service with it answers.

    A user whom it lacks is known by the items that were rated before, or else gets the items'
    means; an item that it lacks gets the user's mean.

    Args:
        bundle: of kind rating.
        user_ids, item_ids: of the data set whose user_indices and item_indices are asked for.
    """

    def __init__(self, bundle: Bundle, user_ids: Sequence[str], item_ids: IdMap) -> None:
        info = bundle.manifest.model
        assert isinstance(info, RatingModelInfo)  # noqa: S101 - of this kind
        self._info, self._arrays = info, bundle.rating_arrays
        users = IdMap.load(bundle.folder / files.USER_IDS)
        self._users = _numbers(users, user_ids)
        self._items = _numbers(bundle.item_ids, item_ids.ids)
        graph = bundle.folder / files.MODEL
        self._graph = ExportedRatings(graph, self._arrays.user_table, bundle.item_table)

    def are_known(self, items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Whether the bundle has each of some items, bool."""
        flags: npt.NDArray[np.bool_] = self._items[items] > 0
        return flags

    def predict(self, ratings: Ratings, before: Ratings) -> Float32:
        """Predictions float32 [n], clipped to the bundle's scale.

        Args:
            ratings: n of them.
            before: what users rated before, in order; read of those whom the bundle lacks.
        """
        predicted = np.empty(len(ratings), np.float32)
        rated = _by_user(before)
        for user, own in _by_user(ratings).items():
            earlier = before.items[rated[user]] if user in rated else before.items[:0]
            predicted[own] = self._rate(user, ratings.items[own], earlier)
        return predicted

    def _rate(self, user: int, items: Int32, before: Int32) -> Float32:
        own_user, own = int(self._users[user]), self._items[items]
        row = self._row(own_user, self._items[before])
        if row is None:
            means: Float32 = self._arrays.item_means[own]
            return means
        rated = np.full(len(own), self._arrays.user_means[own_user], np.float32)
        if (own > 0).any():
            found = self._graph.rate_by_row(row, own[own > 0])
            rated[own > 0] = found.clip(self._info.lowest, self._info.highest)
        return rated

    def _row(self, own_user: int, before: Int64) -> Float32 | None:
        """What the graph reads of a user, [user row]; None where nothing is known of one."""
        table = self._arrays.user_table
        if own_user:
            return np.asarray(table[own_user])
        history = before[before > 0][-self._info.max_length :]
        if not len(history):
            return None
        row = np.zeros(table.shape[1], np.float32)
        row[len(row) // 2 :] = self._arrays.rated_table[history].mean(axis=0)
        return row


def _by_user(ratings: Ratings) -> dict[int, Int64]:
    """Positions of each user's ratings, in order."""
    order = np.argsort(ratings.users, kind="stable")
    users, starts = np.unique(ratings.users[order], return_index=True)
    return dict(zip(users.tolist(), np.split(order, starts[1:]), strict=True)) if len(users) else {}


def _numbers(known: IdMap, ids: Sequence[str]) -> Int64:
    """The numbers of ids in a map by their own ones, 0 for none; row 0 is 0."""
    return np.array([0, *(known.index_of(one) or 0 for one in ids)], dtype=np.int64)
