"""A loaded predictor of ratings: rows of users and items, a graph over them, and means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.background import yield_cpu
from app.model.inference import Provider, RatingGraph, check_tensors, open_session
from model_store import bundle as files
from model_store.bundle import Bundle
from model_store.errors import BundleError
from model_store.golden import TOLERANCE
from model_store.id_map import IdMap
from model_store.manifest import RatingModelInfo
from model_store.rating_arrays import RatingArrays
from model_store.reading import bundle_errors


@dataclass(frozen=True)
class RatingModel:
    """Predicts ratings.

    Attributes:
        users: of the user ids that training knew; rows 1..U of the tables of users.
        table: float32 [N+1, item row].
        arrays: rows of users, half of each the user's own, half of the rated items; and means.
        info: scale and limits.
    """

    graph: RatingGraph
    users: IdMap
    table: FloatArray
    arrays: RatingArrays
    info: RatingModelInfo

    @property
    def execution_provider(self) -> str:
        """The execution provider of the graph."""
        return self.graph.execution_provider

    def user_row(self, user_id: str | None, history: IndexArray) -> FloatArray | None:
        """What the graph reads of a user, [user row]; None for an unknown one without a history.

        Args:
            user_id: perhaps one that training knew.
            history: item_indices that replace the items rated in training; empty: these stay.
        """
        user = self._user(user_id)
        if not len(history):
            return np.asarray(self.arrays.user_table[user]) if user else None
        row: FloatArray = self.arrays.user_table[user].copy()
        row[len(row) // 2 :] = self.arrays.rated_table[history[-self.info.max_length :]].mean(
            axis=0
        )
        return row

    def mean_of(self, user_id: str | None) -> float:
        """A user's mean rating, of an unknown one that of all."""
        return float(self.arrays.user_means[self._user(user_id)])

    def predict(self, row: FloatArray, items: IndexArray) -> FloatArray:
        """Predictions [M] for known items by a user with this row; they may leave the scale."""
        return self.graph.rate(row, self.table[items])

    def rate(self, row: FloatArray, items: IndexArray) -> FloatArray:
        """Predictions [M], clipped to the scale."""
        clipped: FloatArray = self.predict(row, items).clip(self.info.lowest, self.info.highest)
        return clipped

    def _user(self, user_id: str | None) -> int:
        return (self.users.index_of(user_id) or 0) if user_id is not None else 0


def load_rating_model(bundle: Bundle, info: RatingModelInfo, provider: Provider) -> RatingModel:
    """Load the predictor of a bundle and replay its golden requests.

    Raises:
        ConfigError: the requested provider isn't available.
        BundleUnavailable: a file can't be read now.
        BundleError: something in it can't be used, or it doesn't give its golden answers.
    """
    path = bundle.folder / files.MODEL
    session = open_session(path, provider)
    check_tensors(path, session, info.inputs, info.outputs)
    with bundle_errors(bundle.folder / files.USER_IDS, "not ids of users"):
        users = IdMap.load(bundle.folder / files.USER_IDS).with_table()
    if len(users) != bundle.manifest.n_users:
        raise BundleError(
            f"{bundle.folder / files.USER_IDS}: {len(users)} users, the manifest says "
            f"{bundle.manifest.n_users}"
        )
    yield_cpu()
    model = RatingModel(
        RatingGraph(session),
        users,
        bundle.item_table,
        bundle.rating_arrays,
        info,
    )
    _replay_golden(model, bundle)
    _check_answers(model, bundle)
    return model


def _replay_golden(model: RatingModel, bundle: Bundle) -> None:
    for number, golden in enumerate(bundle.golden_ratings):
        items, _ = bundle.item_ids.indices(golden.item_ids)
        row = model.user_row(golden.user_id, items[:0])
        with bundle_errors(bundle.folder / files.MODEL, f"golden request {number} fails"):
            found = model.rate(row, items) if row is not None else model.arrays.item_means[items]
            difference = np.abs(found - np.array(golden.ratings, np.float32)).max()
        if not difference <= TOLERANCE:
            raise BundleError(
                f"{bundle.folder}: golden request {number}: ratings differ by {difference:.2g}"
            )
        yield_cpu()


def _check_answers(model: RatingModel, bundle: Bundle) -> None:
    """Rate one item, and as many as a request ranks, for a user who is known by a history alone."""
    n_items = len(model.table) - 1
    items = np.linspace(1, n_items, min(n_items, model.info.max_ranked)).astype(np.int32)
    row = model.user_row(None, items)
    path = bundle.folder / files.MODEL
    with bundle_errors(path, "the graph fails"):
        for asked in (items[:1], items):
            answer = model.rate(row, asked) if row is not None else asked
            if answer.shape != asked.shape or not np.isfinite(answer).all():
                raise BundleError(
                    f"{path}: answers an array {answer.shape}, expected {asked.shape} of finite "
                    "numbers"
                )
