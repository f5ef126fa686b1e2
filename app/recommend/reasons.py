"""Reasons for an item to be in an answer, in the terms of the source it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.model import Model
from app.recommend.rounding import six_digits

MAX_PAST_ITEMS = 50
MAX_REASONS = 3


def explain_by_history(
    model: Model, history: IndexArray, chosen: IndexArray, scores: FloatArray
) -> list[dict[str, Any]]:
    """For each chosen item, the past items that contribute most to its score, and the remainder.

    The history is scored without each of its last 50 different items (at all their positions), and
    without all earlier ones together; all in one batch. The loss of score is an item's own part.
    Own
    parts rarely add up to the score: of two similar items, neither is missed while the other is
    there. The rest of the score is therefore divided equally among all parts (the equal allocation
    of non-separable contributions; Moulin, 1985). Contributions then add up to the score however
    often an item occurs in the history, and have the order of the own parts.

    The strongest positive ones are named; the `remainder` is the sum of the others.

    Args:
        history: item_indices, oldest to newest, not empty.
        chosen: [K] item_indices.
        scores: [K] their scores with the whole history.
    """
    window = history[-model.sequence.max_length :]
    past = _distinct(window)
    without = [window[window != item] for item in past[:MAX_PAST_ITEMS]]
    if len(past) > MAX_PAST_ITEMS:
        without.append(window[np.isin(window, past[:MAX_PAST_ITEMS])])
    past = past[:MAX_PAST_ITEMS]
    contributions = _contributions(model, without, chosen, scores)[: len(past)]
    explanations = []
    for score, column in zip(six_digits(scores.tolist()), contributions.T, strict=True):
        order = np.argsort(-column, kind="stable")[:MAX_REASONS]
        reasons = [
            _reason(model, int(past[position]), contribution)
            for position, contribution in zip(order, six_digits(column[order]), strict=True)
            if contribution > 0
        ]
        rest = score - sum(reason["contribution"] for reason in reasons)
        [remainder] = six_digits([rest])
        explanations.append({"stage": "model", "because": reasons, "remainder": remainder})
    return explanations


def _contributions(
    model: Model, without: list[IndexArray], chosen: IndexArray, scores: FloatArray
) -> FloatArray:
    """The contribution of each part of a history, [parts, K]; each column sums to its score.

    Args:
        without: the history without each of its parts.
    """
    if len(without) == 1:
        # Without its only part there is no history: the whole score belongs to it.
        return scores[None, :]
    users = np.stack(model.sequence.user_vectors(without))
    own: FloatArray = scores - users @ model.table[chosen].T
    shared: FloatArray = (scores - own.sum(axis=0)) / np.float32(len(without))
    return own + shared


def explain_by_similarity(scores: FloatArray) -> list[dict[str, Any]]:
    """For each chosen item, its similarity to the interests."""
    return [
        {"stage": "cold_start", "because": [], "similarity": score}
        for score in six_digits(scores.tolist())
    ]


def explain_by_means(model: Model, user_id: str | None, chosen: IndexArray) -> list[dict[str, Any]]:
    """For each chosen item, its mean rating and the user's, which the prediction starts from."""
    if model.rating is None:
        return []
    [user_mean] = six_digits([model.rating.mean_of(user_id)])
    item_means = six_digits(model.rating.arrays.item_means[chosen].tolist())
    return [
        {"stage": "rating", "because": [], "user_mean": user_mean, "item_mean": item_mean}
        for item_mean in item_means
    ]


def explain_by_popularity(model: Model, scores: FloatArray) -> list[dict[str, Any]]:
    """For each chosen item, its share of all interactions."""
    shares = six_digits((scores / model.popularity.n_interactions).tolist())
    return [{"stage": "popular", "because": [], "share": share} for share in shares]


def _distinct(items: IndexArray) -> IndexArray:
    """Items without repetition, newest first: a tie then names the newer one."""
    return np.array(list(dict.fromkeys(items[::-1].tolist())), dtype=np.int32)


def _reason(model: Model, item_index: int, contribution: float) -> dict[str, Any]:
    reason: dict[str, Any] = {
        "item_id": model.ids.id_of(item_index),
        "contribution": contribution,
    }
    title = model.title_of(item_index)
    if title is not None:
        reason["title"] = title
    return reason
