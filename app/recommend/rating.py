"""The path of `POST /ratings`: features → rate → respond."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import Any, Protocol

import numpy as np

from app.model.arrays import NO_ITEMS, FloatArray
from app.model.model import Model
from app.model.rating import RatingModel
from app.recommend.rounding import six_digits
from app.store.deadline import Deadline
from app.store.feature_store import FeatureStore
from model_store.errors import WrongKind
from model_store.history import History


class RatingQuery(Protocol):
    """How many stars would this person give these items? user_id or history is given."""

    @property
    def user_id(self) -> str | None:
        """The user, perhaps one that training knew."""

    @property
    def history(self) -> Sequence[str] | None:
        """Item ids, oldest first, in place of those that the user is known to have rated."""

    @property
    def item_ids(self) -> Sequence[str]:
        """The items, in the order of the answer."""

    @property
    def deadline_ms(self) -> int | None:
        """Bounds waiting, in milliseconds from the request's arrival."""


async def predict_ratings(query: RatingQuery, model: Model, store: FeatureStore) -> dict[str, Any]:
    """The answer as a JSON-ready object without its request_id.

    Raises:
        WrongKind: the model is of another kind than rating.
    """
    started = perf_counter()
    rating = model.rating
    if rating is None:
        raise WrongKind(
            f"version {model.version!r} is of kind {model.kind!r} and predicts no ratings"
        )
    degraded: list[str] = []
    history = await _history_of(query, model, store)
    if not history.is_complete:
        degraded.append("features")
    if history.n_unknown:
        degraded.append(f"unknown_items:{history.n_unknown}")
    featured = perf_counter()
    ratings = _rate(query, history, model, rating, degraded)
    answer: dict[str, Any] = {
        "request_id": None,
        "user_id": query.user_id,
        "model_version": model.version,
        "served_by": "rating",
        "rerank": "skipped",
        "degraded": degraded,
        "ratings": [
            {"item_id": item_id, "rating": value}
            for item_id, value in zip(query.item_ids, six_digits(ratings.tolist()), strict=True)
        ],
    }
    ended = perf_counter()
    answer["timings_ms"] = {
        "features": round((featured - started) * 1e3, 3),
        "inference": round((ended - featured) * 1e3, 3),
        "rerank": 0.0,
        "total": round((ended - started) * 1e3, 3),
    }
    return answer


async def _history_of(query: RatingQuery, model: Model, store: FeatureStore) -> History:
    """The request's own, else the stored one."""
    if query.history is not None:
        return History(*model.ids.indices(query.history))
    deadline = None
    if query.deadline_ms is not None:
        deadline = Deadline.after_ms(query.deadline_ms, monotonic())
    [history] = await store.read_histories(
        [query.user_id or ""], model.version, model.ids, [deadline], model.events
    )
    return history


def _rate(
    query: RatingQuery, history: History, model: Model, rating: RatingModel, degraded: list[str]
) -> FloatArray:
    """A rating for each item of the query, [M].

    A user whom training didn't know is known by the history. One without a history, such as one
    who was forgotten, gets the items' means; unknown items get the user's mean.
    """
    items = np.array([model.ids.index_of(item_id) or 0 for item_id in query.item_ids], np.int32)
    n_unknown = int((items == 0).sum())
    if n_unknown:
        degraded.append(f"unknown_item_ids:{n_unknown}")
    row = None
    if query.history is not None:
        row = rating.user_row(query.user_id, history.items)
    elif len(history.items) or not history.is_complete:
        row = rating.user_row(query.user_id, NO_ITEMS)
        if row is None:
            row = rating.user_row(None, history.items)
    if row is None:
        degraded.append("unknown_user")
        return rating.arrays.item_means[items]
    ratings = np.full(len(items), rating.mean_of(query.user_id), np.float32)
    if n_unknown < len(items):
        ratings[items > 0] = rating.rate(row, items[items > 0])
    return ratings
