"""Why an item is in an answer: by leaving past items out and looking what its score loses."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.model.arrays import FloatArray, IndexArray
from app.model.model import Model

MAX_PAST_ITEMS = 50
MAX_REASONS = 3


def explain_by_history(
    model: Model, history: IndexArray, chosen: IndexArray, scores: FloatArray
) -> list[dict[str, Any]]:
    """For each chosen item, the past items without which its score would be lowest.

    Each of the last 50 positions' items is left out in turn, at all its places, in one batch
    (occlusion). Contributions are score differences; items that lower the score are not named.

    Args:
        history: item_indices, oldest to newest, not empty.
        chosen: [K] item_indices.
        scores: [K] their scores with the whole history.
    """
    past = _distinct(history[-min(MAX_PAST_ITEMS, model.sequence.max_length) :])
    if len(past) > 1:
        without = [history[history != item] for item in past]
        users = np.stack(model.sequence.user_vectors(without))
        contributions = scores - users @ model.table[chosen].T
    else:
        # Without its only item there is no history: the whole score is due to it.
        contributions = scores[None, :]
    explanations = []
    for column in contributions.T:
        order = np.argsort(-column, kind="stable")[:MAX_REASONS]
        reasons = [
            _reason(model, int(past[place]), float(column[place]))
            for place in order
            if column[place] > 0
        ]
        explanations.append({"stage": "model", "because": reasons})
    return explanations


def explain_by_similarity(scores: FloatArray) -> list[dict[str, Any]]:
    """For each chosen item, how near it is to the interests."""
    return [
        {"stage": "cold_start", "because": [], "similarity": score} for score in scores.tolist()
    ]


def explain_by_popularity(model: Model, scores: FloatArray) -> list[dict[str, Any]]:
    """For each chosen item, its share of all interactions."""
    shares = scores / model.popularity.n_interactions
    return [{"stage": "popular", "because": [], "share": share} for share in shares.tolist()]


def _distinct(items: IndexArray) -> IndexArray:
    """Items without repetition, newest first: a tie then names the newer one."""
    return np.array(list(dict.fromkeys(items[::-1].tolist())), dtype=np.int32)


def _reason(model: Model, item_index: int, contribution: float) -> dict[str, Any]:
    reason: dict[str, Any] = {
        "item_id": model.ids.id_of(item_index),
        "contribution": contribution,
    }
    title = model.attributes.row(item_index, ("title",)).get("title")
    if isinstance(title, str):
        reason["title"] = title
    return reason
