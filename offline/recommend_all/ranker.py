"""From a batch of histories to recommendations, ranked as POST /recommend ranks.

What depends on a service is not in them: rules, reranking, events that came in since, and the index
of a large catalogue, of which every item is scored here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.dislikes import away_from
from model_store.errors import ConfigError
from offline.data.histories import Histories, Items
from offline.engine.rows import rows_of
from offline.engine.work import Compute, Device
from offline.recommend_all.best_items import BestItems, Pairs, Vectors
from offline.recommend_all.user_vectors import UserNetwork

POPULAR = "popular"
_SERVED_BY = {"sequential": "model", "direct": "direct"}
USER_ID, HISTORY, DISLIKED = "user_id", "history", "disliked"
"""Columns of a batch: texts, and lists of int32 item_indices, of the history the oldest first."""
RESULT_SCHEMA = {
    USER_ID: pl.String,
    "rank": pl.Int32,
    "item_id": pl.String,
    "score": pl.Float32,
    "served_by": pl.String,
}
"""Recommendations: the users in their order, each one's items best first."""


def check_kind(bundle: Bundle) -> None:
    """Check that a bundle ranks by user vectors.

    Raises:
        ConfigError: it predicts ratings.
    """
    if bundle.manifest.kind not in _SERVED_BY:
        raise ConfigError(
            f"{bundle.folder}: is of kind {bundle.manifest.kind}, which has no user vectors; "
            f"recommend-all takes bundles of kind {' or '.join(_SERVED_BY)}"
        )


@dataclass(frozen=True)
class RankUsers:
    """The `Work` of recommending.

    Attributes:
        bundle: its folder.
        k: items for each user.
        exclude_seen: leave out the items of the history.
    """

    bundle: Path
    k: int
    exclude_seen: bool

    device: ClassVar[Device] = "cpu"

    def open(self) -> Compute:
        """Load the bundle's network, table and ids.

        Raises:
            BundleError: one of them can't be used.
        """
        return Ranker(Bundle.open(self.bundle, verify=False), self.k, self.exclude_seen)


class Ranker:
    """Recommends to batches of users.

    Args:
        bundle: of a kind that `check_kind` takes.
        k: items for each user.
        exclude_seen: leave out the items of the history.
    """

    def __init__(self, bundle: Bundle, k: int, exclude_seen: bool) -> None:
        check_kind(bundle)
        info = bundle.manifest.model
        self._k, self._exclude_seen = k, exclude_seen
        self._table = np.asarray(bundle.item_table)
        self._dislike_weight = bundle.manifest.events.dislike_weight
        self._centre = self._table[1:].mean(axis=0)
        self._network = UserNetwork(bundle.folder / files.MODEL, self._table, info.max_length)
        self._best = BestItems(self._table, k)
        self._item_ids = pl.Series("item_id", ["", *bundle.item_ids.ids], pl.String)
        self._popularity = np.asarray(bundle.popularity)
        self._order = (np.argsort(-self._popularity[1:], kind="stable") + 1).astype(np.int32)
        self._served_by = _SERVED_BY[bundle.manifest.kind]

    def __call__(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Recommendations of `RESULT_SCHEMA` for a batch: USER_ID, HISTORY and DISLIKED."""
        histories, disliked = rows_of(batch[HISTORY]), rows_of(batch[DISLIKED])
        items = np.zeros((len(histories), self._k), dtype=np.int32)
        scores = np.full((len(histories), self._k), -np.inf, dtype=np.float32)
        left_out = [
            np.concatenate([history, other]) if self._exclude_seen else other
            for history, other in zip(histories, disliked, strict=True)
        ]
        known = np.array([row for row, one in enumerate(histories) if len(one)], dtype=np.int64)
        vectors = self._user_vectors(
            [histories[row] for row in known], [disliked[row] for row in known]
        )
        finite = np.isfinite(vectors).all(axis=1)
        known, vectors = known[finite], vectors[finite]
        excluded = Pairs.of([left_out[row] for row in known])
        items[known], scores[known] = self._best.find(vectors, excluded)
        is_popular = ~self._is_sound(items, scores, left_out)
        for row in np.flatnonzero(is_popular).tolist():
            items[row], scores[row] = self._find_popular(left_out[row])
        return self._frame(batch[USER_ID], items, scores, is_popular)

    def _user_vectors(self, histories: Histories, disliked: Histories) -> Vectors:
        vectors = self._network.user_vectors(histories)
        if self._dislike_weight:
            for row, items in enumerate(disliked):
                if len(items):
                    vectors[row] += away_from(
                        vectors[row], self._table[items], self._centre, self._dislike_weight
                    )
        return vectors

    def _is_sound(
        self, items: Items, scores: Vectors, left_out: Histories
    ) -> npt.NDArray[np.bool_]:
        """Whether rankings can be used: a network can overflow for some histories only.

        Of a user without one nothing was found. Fewer than k items are right where there are no
        more.
        """
        sound: npt.NDArray[np.bool_] = np.isfinite(scores[:, 0])
        for row in np.flatnonzero(sound & (items[:, -1] == 0)).tolist():
            n_left = len(self._order) - len(np.unique(left_out[row]))
            sound[row] = np.count_nonzero(items[row]) == min(self._k, n_left)
        return sound

    def _find_popular(self, left_out: Items) -> tuple[Items, Vectors]:
        """The most popular items that are not left out, int32 [k], and their counts."""
        items = np.zeros(self._k, dtype=np.int32)
        scores = np.full(self._k, -np.inf, dtype=np.float32)
        first = self._order[: self._k + len(left_out)]
        found = first[~np.isin(first, left_out)][: self._k]
        items[: len(found)], scores[: len(found)] = found, self._popularity[found]
        return items, scores

    def _frame(
        self,
        user_ids: pl.Series,
        items: Items,
        scores: Vectors,
        is_popular: npt.NDArray[np.bool_],
    ) -> pl.DataFrame:
        rows, ranks = items.nonzero()
        return pl.DataFrame(
            {
                USER_ID: user_ids.gather(rows),
                "rank": ranks + 1,
                "item_id": self._item_ids.gather(items[rows, ranks]),
                "score": scores[rows, ranks],
                "served_by": pl.Series(np.where(is_popular, POPULAR, self._served_by)).gather(rows),
            },
            schema=RESULT_SCHEMA,
        )
